package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Options are where [Load] looks.
type Options struct {
	Path    string            // of the file, as --config names it; "": GATEHOUSE_CONFIG, then the usual places
	Environ []string          // as os.Environ returns it
	Flags   map[string]string // by key, "listen": what was given on the command line
	Dir     string            // the working directory; "": that of the process

	system string // instead of systemFile, for tests
}

const (
	localFile      = "gatehouse.yaml"
	systemFile     = "/etc/gatehouse/gatehouse.yaml"
	variablePrefix = "GATEHOUSE_"

	mostFile   = 1 << 20 // bytes of a configuration file
	mostSecret = 1 << 14 // bytes of a file with a secret
)

// An origin is where a value comes from. The zero origin is the default.
type origin struct {
	file     string
	line     int
	variable string
	flag     string
}

func (o origin) String() string {
	switch {
	case o.flag != "":
		return "flag --" + o.flag
	case o.variable != "":
		return "environment " + o.variable
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.file, o.line)
	case o.file != "":
		return o.file
	}
	return "default"
}

// A Problem is one thing that is wrong with a configuration: "gatehouse.yaml:12: tokens.b2b.on_reuse: …".
type Problem struct {
	Where string // as [Config.Origin] tells it
	Key   string // "" where it is not about one
	Err   error  // what is wrong, and how to put it right

	at origin
}

func (p *Problem) Error() string {
	if p.Key == "" {
		return p.Where + ": " + p.Err.Error()
	}
	return p.Where + ": " + p.Key + ": " + p.Err.Error()
}

func (p *Problem) Unwrap() error { return p.Err }

// byOrigin orders problems: those of the file by their lines, then those of the environment, of flags, of nothing that was
// set.
func byOrigin(a, b *Problem) int {
	rank := func(o origin) int {
		switch {
		case o.flag != "":
			return 2
		case o.variable != "":
			return 1
		case o.file != "":
			return 0
		}
		return 3
	}
	return cmp.Or(cmp.Compare(rank(a.at), rank(b.at)), cmp.Compare(a.at.line, b.at.line),
		cmp.Compare(a.Where, b.Where), cmp.Compare(a.Key, b.Key))
}

// A loader gathers a configuration, and everything that is wrong with it.
type loader struct {
	options  Options
	c        *Config
	problems []*Problem
	wrong    map[string]bool // keys that have a problem already
}

// Load reads the configuration: the defaults, the file over them, the environment over the file, flags over the
// environment. The file is the first there is of options.Path, GATEHOUSE_CONFIG, ./gatehouse.yaml and
// /etc/gatehouse/gatehouse.yaml; there need be none, but one that was named must be there. The error holds all problems,
// each a [*Problem], joined; no configuration is returned with it.
//
// What it returns is complete: issuer and audience are filled in, paths are absolute, each route with types has the words
// of its errors, and the master key is read.
func Load(options Options) (*Config, error) {
	l := &loader{options: options, c: Default(), wrong: make(map[string]bool)}
	l.c.origins = make(map[string]origin)
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	l.options.Dir, l.c.dir = dir, dir
	if l.readFile() {
		l.readEnviron()
		l.readFlags()
		l.complete()
		l.check()
	}
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, byOrigin)
		all := make([]error, len(l.problems))
		for i, p := range l.problems {
			all[i] = p
		}
		return nil, errors.Join(all...)
	}
	return l.c, nil
}

// problem notes what is wrong with a key, at its origin, unless something is already.
func (l *loader) problem(key string, format string, args ...any) {
	l.problemAt(l.c.origin(key), key, format, args...)
}

func (l *loader) problemAt(where origin, key string, format string, args ...any) {
	if key != "" && l.wrong[key] {
		return
	}
	l.wrong[key] = true
	l.problems = append(l.problems, &Problem{where.String(), key, fmt.Errorf(format, args...), where})
}

// readFile finds and reads the file. It says whether it makes sense to go on.
func (l *loader) readFile() bool {
	named := cmp.Or(l.options.Path, l.variable("GATEHOUSE_CONFIG"))
	candidates := []string{named}
	if named == "" {
		candidates = []string{localFile, cmp.Or(l.options.system, systemFile)}
	}
	for _, name := range candidates {
		data, err := readSome(l.inDir(name), mostFile)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			l.problemAt(origin{file: name}, "", "cannot read the configuration: %w", err)
			return false
		}
		l.c.File = name
		return l.decode(name, data)
	}
	return true
}

func (l *loader) inDir(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.options.Dir, path)
}

// readSome reads a file of at most so many bytes. Its errors name the path.
func readSome(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that make sense", path, info.Size(), most)
	}
	return os.ReadFile(path)
}

func (l *loader) variable(name string) string {
	for _, entry := range l.options.Environ {
		if k, v, _ := strings.Cut(entry, "="); k == name {
			return v
		}
	}
	return ""
}

// The variables that are no key's own.
const (
	configVariable      = "GATEHOUSE_CONFIG"
	masterKeyVariable   = "GATEHOUSE_MASTER_KEY"
	previousKeyVariable = "GATEHOUSE_MASTER_KEY_PREVIOUS"
	previousKeyFile     = "GATEHOUSE_MASTER_KEY_PREVIOUS_FILE"
)

// The variables by which commands find a server elsewhere. They say nothing of this one.
const (
	ServerVariable = "GATEHOUSE_SERVER" // the URL of its admin listener
	TokenVariable  = "GATEHOUSE_TOKEN"  // an operator token
)

// kubernetes matches what a cluster puts into every container for a service that is named gatehouse, or
// gatehouse-something: GATEHOUSE_SERVICE_HOST=10.0.0.1, GATEHOUSE_PORT_8000_TCP=tcp://10.0.0.1:8000. These are nobody's
// typing errors.
const kubernetes = `^GATEHOUSE_(\w+_)?(SERVICE_HOST=[0-9a-f.:]*|SERVICE_PORT(_\w+)?=\d+|PORT=(tcp|udp|sctp)://.*|` +
	`PORT_\d+_(TCP|UDP|SCTP)(=|_PROTO=|_PORT=|_ADDR=).*)$`

// readEnviron takes every GATEHOUSE_ variable.
func (l *loader) readEnviron() {
	known := map[string]leaf{}
	for _, leaf := range leaves(l.c) {
		known[variableName(leaf.key)] = leaf
	}
	seen := map[string]bool{
		configVariable: true, masterKeyVariable: true, previousKeyVariable: true, previousKeyFile: true, ServerVariable: true, TokenVariable: true,
	}
	foreign := regexp.MustCompile(kubernetes)
	for _, entry := range l.options.Environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || seen[name] || foreign.MatchString(entry) {
			continue
		}
		seen[name] = true
		where := origin{variable: name}
		if leaf, ok := known[name]; ok {
			l.setText(leaf, where, value)
			continue
		}
		if base, ok := strings.CutSuffix(name, "_FILE"); ok && known[base].key != "" && known[base].value.Type() == secretType {
			leaf := known[base]
			if l.c.origin(leaf.key).variable == base {
				l.problemAt(where, leaf.key, "%s is set too: leave out one of them", base)
			} else if s, ok := l.readSecret(where, leaf.key, value); ok {
				leaf.value.Set(reflect.ValueOf(s))
				l.c.origins[leaf.key] = where
			}
			continue
		}
		hint := "`gatehouse config print` shows all there are"
		if near := nearest(strings.TrimPrefix(name, variablePrefix), variables()); near != "" {
			hint = "did you mean " + variablePrefix + near + "?"
		}
		l.problemAt(where, "", "there is no such setting: %s", hint)
	}
}

// variables are the names of all keys' variables, without what they all begin with.
func variables() []string {
	var all []string
	for _, key := range Keys() {
		if v := Variable(key); v != "" {
			all = append(all, strings.TrimPrefix(v, variablePrefix))
		}
	}
	return all
}

// readFlags takes every flag.
func (l *loader) readFlags() {
	known := map[string]leaf{}
	for _, leaf := range leaves(l.c) {
		known[leaf.key] = leaf
	}
	for _, key := range slices.Sorted(maps.Keys(l.options.Flags)) {
		leaf, ok := known[key]
		where := origin{flag: key}
		switch {
		case !ok:
			hint := "`gatehouse config print` shows all there are"
			if near := nearest(key, Keys()); near != "" {
				hint = "did you mean --" + near + "?"
			}
			l.problemAt(where, "", "there is no such setting: %s", hint)
		case leaf.value.Type() == secretType:
			l.problemAt(where, key, "is a secret, and flags are for everybody on the machine to read: set %s or %[1]s_FILE", Variable(key))
		default:
			l.setText(leaf, where, l.options.Flags[key])
		}
	}
}

// setText sets a key from a variable or a flag. What the file said of it, right or wrong, no longer counts.
func (l *loader) setText(leaf leaf, where origin, value string) {
	l.problems = slices.DeleteFunc(l.problems, func(p *Problem) bool {
		return p.Key == leaf.key || strings.HasPrefix(p.Key, leaf.key+"[")
	})
	delete(l.wrong, leaf.key)
	l.c.origins[leaf.key] = where
	if !utf8.ValidString(value) {
		l.problem(leaf.key, "is not valid UTF-8")
		return
	}
	if err := parseText(leaf.value, value); err != nil {
		l.problem(leaf.key, "%w", err)
	}
}

// complete fills in what follows from other keys.
func (l *loader) complete() {
	c := l.c
	c.Issuer = cmp.Or(c.Issuer, c.PublicURL)
	c.Audience = cmp.Or(c.Audience, c.Issuer)
	c.Dashboard.AdminURL = cmp.Or(c.Dashboard.AdminURL, c.adminURL())
	for key, path := range map[string]*string{
		"data_dir": &c.DataDir, "backup.dir": &c.Backup.Dir, "master_key_file": &c.MasterKeyFile, "tls.cert_file": &c.TLS.CertFile, "tls.key_file": &c.TLS.KeyFile,
		"tls.client_ca_file": &c.TLS.ClientCAFile, "tls.acme.ca_file": &c.TLS.ACME.CAFile,
		"admin_tls.cert_file": &c.AdminTLS.CertFile, "admin_tls.key_file": &c.AdminTLS.KeyFile,
		"admin_tls.client_ca_file": &c.AdminTLS.ClientCAFile,
	} {
		*path = l.path(key, *path)
	}
	for i := range c.Dashboard.OpenID {
		p := &c.Dashboard.OpenID[i]
		l.readSecretOf(providerKey(i), "client_secret", &p.ClientSecret, &p.ClientSecretFile)
	}
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		l.readSecretOf(webhookKey(i), "secret", &w.Secret, &w.SecretFile)
	}
	for i := range c.Routes {
		c.Routes[i].complete()
		l.readAuthorities(routeKey(i)+".upstream_tls.ca_file", &c.Routes[i].UpstreamTLS)
	}
	l.readMasterKeys()
	l.checkDatabase()
	l.readRedis()
}

// adminURL is where operators reach the server if nothing else is said; "" if nobody can.
func (c *Config) adminURL() string {
	_, port, err := net.SplitHostPort(c.AdminListen)
	if err != nil || port == "0" { // which one it will be is not known yet
		port = ""
	}
	scheme := "http"
	if c.AdminTLS.CertFile != "" {
		scheme = "https"
	}
	return strings.TrimSuffix(scheme+"://"+net.JoinHostPort("localhost", port), ":")
}

// path makes a path absolute: what a flag says is meant where the caller stands, everything else where the file is.
func (l *loader) path(key, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	base := l.options.Dir
	if l.c.File != "" && l.c.origin(key).flag == "" {
		base = filepath.Dir(l.c.Path())
	}
	return filepath.Join(base, path)
}

func (l *loader) readMasterKeys() {
	named := l.c.origin("master_key_file")
	direct := l.variable(masterKeyVariable)
	if direct != "" && l.c.MasterKeyFile != "" && (named.variable != "" || named.flag != "") {
		l.problem("master_key_file", "%s is set too: leave out one of them", masterKeyVariable)
		return
	}
	if direct != "" { // the environment wins over the file
		l.c.MasterKey = NewSecret(strings.TrimSpace(direct))
	} else if l.c.MasterKeyFile != "" {
		if s, ok := l.readSecret(named, "master_key_file", l.c.MasterKeyFile); ok {
			l.c.MasterKey = s
		}
	}
	previous, file := l.variable(previousKeyVariable), l.variable(previousKeyFile)
	switch where := (origin{variable: previousKeyFile}); {
	case previous != "" && file != "":
		l.problemAt(where, "", "%s is set too: leave out one of them", previousKeyVariable)
	case previous != "":
		l.c.MasterKeyPrevious = NewSecret(strings.TrimSpace(previous))
	case file != "":
		if s, ok := l.readSecret(where, "", file); ok {
			l.c.MasterKeyPrevious = s
		}
	}
}

// readAuthorities reads the file of certificates that a route names.
func (l *loader) readAuthorities(key string, t *UpstreamTLS) {
	if t.CAFile == "" {
		return
	}
	t.CAFile = l.path(key, t.CAFile)
	data, err := readSome(t.CAFile, mostFile)
	if err != nil {
		l.problem(key, "cannot read the certificates: %w", err)
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		l.problem(key, "%s holds no certificate: write it as PEM, between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----", t.CAFile)
		return
	}
	t.CA = string(data)
}

// readSecretOf reads the secret of one section of a list, as that of a webhook, from its file if it names one: beside the key
// name there is name_file.
func (l *loader) readSecretOf(section, name string, s *Secret, file *string) {
	if *file == "" {
		return
	}
	key := section + "." + name + "_file"
	*file = l.path(key, *file)
	if s.Set() {
		l.problem(key, "%s is set too: leave out one of them", name)
	} else if read, ok := l.readSecret(l.c.origin(key), key, *file); ok {
		*s = read
	}
}

// readSecret reads a secret out of a file, without the white space around it. Its errors name the file, never what is in
// it.
func (l *loader) readSecret(where origin, key, path string) (Secret, bool) {
	path = l.path(key, path)
	data, err := readSome(path, mostSecret)
	if err != nil {
		l.problemAt(where, key, "cannot read the secret: %w", err)
		return Secret{}, false
	}
	s := strings.TrimSpace(string(data))
	if s == "" || !utf8.ValidString(s) {
		l.problemAt(where, key, "%s holds no text: write the secret into it, on one line", path)
		return Secret{}, false
	}
	return NewSecret(s), true
}

// origin is where a key's value comes from: its own, or that of the section or route it is in.
func (c *Config) origin(key string) origin {
	for {
		if o, ok := c.origins[key]; ok {
			return o
		}
		up := strings.LastIndexAny(key, ".[")
		if up < 0 {
			return origin{}
		}
		key = key[:up]
	}
}

// Origin says where the value of a key comes from: "default", "gatehouse.yaml:12", "environment GATEHOUSE_LISTEN",
// "flag --listen".
func (c *Config) Origin(key string) string {
	if strings.Contains(key, "[") {
		return c.origin(key).String()
	}
	return c.origins[key].String()
}
