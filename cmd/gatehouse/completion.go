package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completion) Help() string {
	return `    source <(gatehouse completion bash)                                          # now
    gatehouse completion bash > /etc/bash_completion.d/gatehouse                 # for good
    gatehouse completion zsh > "${fpath[1]}/_gatehouse"
    gatehouse completion fish > ~/.config/fish/completions/gatehouse.fish`
}

func (c *completion) Run(sh *shell, parser *kong.Kong) error {
	return sh.printf("%s", completions(c.Shell, parser.Model.Node))
}

// A place is one command and what can follow it.
type place struct {
	path  string // "account create"; "" for the program itself
	words []*kong.Node
	flags []*kong.Flag
	enum  []string // what its argument can be, where that is a list
}

// places are all commands, from the top.
func places(n *kong.Node) []place {
	p := place{path: n.Path()}
	if n.Type == kong.ApplicationNode {
		p.path = ""
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			if !slices.ContainsFunc(p.flags, func(g *kong.Flag) bool { return g.Name == f.Name }) {
				p.flags = append(p.flags, f)
			}
		}
	}
	for _, arg := range n.Positional {
		p.enum = append(p.enum, values(arg)...)
	}
	all := []place{p}
	for _, child := range n.Children {
		if !child.Hidden {
			all[0].words = append(all[0].words, child)
			all = append(all, places(child)...)
		}
	}
	return all
}

// values are what a flag or an argument can be, where that is a list.
func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// spellings are how a flag can be written.
func spellings(f *kong.Flag) []string {
	all := []string{"--" + f.Name}
	if f.Short != 0 {
		all = append(all, "-"+string(f.Short))
	}
	return all
}

// What a flag's value is, where a shell can help with it.
const (
	aFile   = "FILE"
	aFolder = "DIR"
)

// withValue are the spellings of all flags that take a value; of those whose value is of one kind, if kind is not empty.
func withValue(all []place, kind string) []string {
	var list []string
	for _, p := range all {
		for _, f := range p.flags {
			if !f.IsBool() && (kind == "" || f.PlaceHolder == kind) {
				list = append(list, spellings(f)...)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// completions is the script for a shell. It is made of the commands themselves, so it knows all of them and no others.
func completions(shell string, root *kong.Node) string {
	all := places(root)
	switch shell {
	case "bash":
		return forBash(all)
	case "zsh":
		return forZsh(all)
	}
	return forFish(all)
}

// walk is, for bash and zsh, how the words typed so far lead to a command: a value after a flag leads nowhere.
func walk(b *strings.Builder, all []place) {
	fmt.Fprintf(b, "        if [[ -n $skip ]]; then skip=; continue; fi\n")
	fmt.Fprintf(b, "        case \"$word\" in\n            %s) skip=yes; continue ;;\n        esac\n", strings.Join(withValue(all, ""), "|"))
	fmt.Fprintf(b, "        case \"$at/$word\" in\n")
	for _, p := range all {
		for _, w := range p.words {
			fmt.Fprintf(b, "            \"%s/%s\") at=\"%s\" ;;\n", p.path, w.Name, w.Path())
		}
	}
	fmt.Fprintf(b, "        esac\n")
}

// offers is, for bash and zsh, what can stand at a command: its own commands or what its argument can be, or, once a dash
// is there, its flags.
func offers(b *strings.Builder, all []place) {
	fmt.Fprintf(b, "    case \"$at\" in\n")
	for _, p := range all {
		var plain, flags []string
		for _, w := range p.words {
			plain = append(plain, w.Name)
		}
		plain = append(plain, p.enum...)
		for _, f := range p.flags {
			flags = append(flags, "--"+f.Name)
		}
		fmt.Fprintf(b, "        \"%s\") offer=\"%s\"; flags=\"%s\" ;;\n", p.path, strings.Join(plain, " "), strings.Join(flags, " "))
	}
	fmt.Fprintf(b, "    esac\n    if [[ $cur == -* ]]; then offer=$flags; fi\n")
}

// enums calls write for every flag whose value is one of a list.
func enums(all []place, write func(p place, f *kong.Flag, values []string)) {
	for _, p := range all {
		for _, f := range p.flags {
			if list := values(f.Value); list != nil {
				write(p, f, list)
			}
		}
	}
}

func forBash(all []place) string {
	var b strings.Builder
	b.WriteString(`# Completion of gatehouse in bash. To have it now: source <(gatehouse completion bash)

_gatehouse() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local at= word= skip= offer= flags= i
    COMPREPLY=()
    # bash takes --kind=login apart at the equals sign.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then continue; fi
`)
	walk(&b, all)
	b.WriteString("    done\n    case \"$at/$prev\" in\n")
	enums(all, func(p place, f *kong.Flag, values []string) {
		for _, s := range spellings(f) {
			fmt.Fprintf(&b, "        \"%s/%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", p.path, s, strings.Join(values, " "))
		}
	})
	b.WriteString("    esac\n    case \"$prev\" in\n")
	for _, list := range [][2]string{{aFile, "-f"}, {aFolder, "-d"}} {
		fmt.Fprintf(&b, "        %s) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen %s -- \"$cur\")); return ;;\n",
			strings.Join(withValue(all, list[0]), "|"), list[1])
	}
	fmt.Fprintf(&b, "        %s) return ;;\n    esac\n", strings.Join(withValue(all, ""), "|"))
	offers(&b, all)
	b.WriteString(`    COMPREPLY=($(compgen -W "$offer" -- "$cur"))
}

complete -F _gatehouse gatehouse
`)
	return b.String()
}

func forZsh(all []place) string {
	var b strings.Builder
	b.WriteString(`#compdef gatehouse
# Completion of gatehouse in zsh. To have it now: source <(gatehouse completion zsh)

_gatehouse() {
    local cur=${words[CURRENT]} prev=${words[CURRENT-1]}
    local at= word= skip= offer= flags= i
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*}
        cur=${cur#*=}
        compset -P '*='
    fi
    for ((i = 2; i < CURRENT; i++)); do
        word=${words[i]}
`)
	walk(&b, all)
	b.WriteString("    done\n    case \"$at/$prev\" in\n")
	enums(all, func(p place, f *kong.Flag, values []string) {
		for _, s := range spellings(f) {
			fmt.Fprintf(&b, "        \"%s/%s\") compadd -- %s; return ;;\n", p.path, s, strings.Join(values, " "))
		}
	})
	fmt.Fprintf(&b, "    esac\n    case \"$prev\" in\n        %s) _files; return ;;\n        %s) _files -/; return ;;\n        %s) return ;;\n    esac\n",
		strings.Join(withValue(all, aFile), "|"), strings.Join(withValue(all, aFolder), "|"), strings.Join(withValue(all, ""), "|"))
	offers(&b, all)
	b.WriteString(`    compadd -- ${=offer}
}

if [[ $funcstack[1] == _gatehouse ]]; then
    _gatehouse "$@"
else
    compdef _gatehouse gatehouse
fi
`)
	return b.String()
}

func forFish(all []place) string {
	var b strings.Builder
	b.WriteString(`# Completion of gatehouse in fish. To have it now: gatehouse completion fish | source

# Says whether what is typed so far leads to this command.
function __gatehouse_at
    set -l at ''
    set -l skip no
    set -l typed (commandline -opc)
    set -e typed[1]
    for word in $typed
        if test $skip = yes
            set skip no
            continue
        end
`)
	fmt.Fprintf(&b, "        switch $word\n            case %s\n                set skip yes\n                continue\n        end\n        switch \"$at/$word\"\n",
		strings.Join(withValue(all, ""), " "))
	for _, p := range all {
		for _, w := range p.words {
			fmt.Fprintf(&b, "            case '%s/%s'\n                set at '%s'\n", p.path, w.Name, w.Path())
		}
	}
	b.WriteString("        end\n    end\n    test \"$at\" = \"$argv[1]\"\nend\n\ncomplete -c gatehouse -f\n")
	for _, p := range all {
		line := fmt.Sprintf("complete -c gatehouse -n \"__gatehouse_at '%s'\"", p.path)
		for _, w := range p.words {
			fmt.Fprintf(&b, "%s -a %s -d %s\n", line, w.Name, fishQuoted(w.Help))
		}
		if len(p.enum) > 0 {
			fmt.Fprintf(&b, "%s -a %s\n", line, fishQuoted(strings.Join(p.enum, " ")))
		}
		for _, f := range p.flags {
			fmt.Fprintf(&b, "%s -l %s", line, f.Name)
			if f.Short != 0 {
				fmt.Fprintf(&b, " -s %c", f.Short)
			}
			switch {
			case f.IsBool():
			case values(f.Value) != nil:
				fmt.Fprintf(&b, " -x -a %s", fishQuoted(strings.Join(values(f.Value), " ")))
			case f.PlaceHolder == aFile:
				b.WriteString(" -r -F")
			case f.PlaceHolder == aFolder:
				b.WriteString(" -x -a '(__fish_complete_directories)'")
			default:
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuoted(f.Help))
		}
	}
	return b.String()
}

// fishQuoted is s in fish's single quotes, where only these two mean something.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
