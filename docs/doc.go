// Package docs holds the pages for those who run Gatehouse, write clients for it, or build on it. There is no code in it but
// the tests that compare the pages with the program: their commands are run, their tables and links checked.
package docs
