package config

import _ "embed"

//go:embed example.yaml
var example string

// Example is a gatehouse.yaml with every key, its default and what it is for: the comments of [Config]. Loaded, it changes
// nothing. (A test writes it, with -update.)
func Example() string { return example }
