package web

import (
	"encoding/json"
	"strings"
	"testing"
)

type login struct{ Username, Password string }

func (l *login) Member(name string) *string {
	switch name {
	case "username":
		return &l.Username
	case "password":
		return &l.Password
	}
	return nil
}

func TestStrictJSON(t *testing.T) {
	deep := func(levels int) string {
		return `{"x":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
	}
	for _, c := range []struct {
		body string
		want login
		ok   bool
	}{
		{`{"username":"u","password":"p"}`, login{"u", "p"}, true},
		{" \t\r\n{ \"password\" : \"p\" , \"username\" : \"u\" } \n", login{"u", "p"}, true},
		{`{"\u0075sername":"\u0075"}`, login{Username: "u"}, true}, // the same key, spelled otherwise
		{`{"username":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udd11é🔑\u0000"}`, login{Username: "\"\\/\b\f\n\r\té🔑é🔑\x00"}, true},
		{`{"Username":"u","USERNAME":"v","u\u017fername":"w"}`, login{}, true}, // three other keys
		{`{"more":[1,-0,0.5,1e400,12E+3,1e-2,true,false,null,{"a":{}},[]],"username":"u"}`, login{Username: "u"}, true},
		{`{"username":7,"password":null}`, login{}, true},
		{`{"username":{"username":"u"},"password":["p"]}`, login{}, true},
		{`{"a":{"username":"u"}}`, login{}, true}, // only at the top
		{`[]`, login{}, true},
		{`"username"`, login{}, true},
		{`null`, login{}, true},
		{`0`, login{}, true},
		{`{}`, login{}, true},
		{deep(32), login{}, true},
		{`{"username":"\ufffd"}`, login{Username: "\ufffd"}, true},
		{`{"":"","a":""}`, login{}, true},

		{``, login{}, false},
		{` `, login{}, false},
		{`{`, login{}, false},
		{`{"username"`, login{}, false},
		{`{"username":`, login{}, false},
		{`{"username":"u`, login{}, false},
		{`{"username":"u"`, login{}, false},
		{`{"username":"u",`, login{}, false},
		{`{"username":"u",}`, login{}, false},
		{`{"username":"u"}}`, login{}, false},
		{`{"username":"u"} {}`, login{}, false},
		{`{"username":"u"}x`, login{}, false},
		{"{\"username\":\"u\"}\x00", login{}, false},
		{"\ufeff{}", login{}, false},
		{`{'username':'u'}`, login{}, false},
		{`{username:"u"}`, login{}, false},
		{`username=u&password=p`, login{}, false},
		{`{"username":"u","username":"u"}`, login{}, false},
		{`{"username":"u","user\u006eame":"v"}`, login{}, false},
		{`{"a":{"b":1,"b":2}}`, login{}, false},
		{`{"a":[{"b":1,"b":2}]}`, login{}, false},
		{`{"x":1,"y":2,"x":3}`, login{}, false},
		{"{\"username\":\"\xff\"}", login{}, false},
		{"{\"username\":\"\xed\xa0\x80\"}", login{}, false},
		{`{"username":"\ud800"}`, login{}, false},
		{`{"username":"\ud800x"}`, login{}, false},
		{`{"username":"\ud800\u0041"}`, login{}, false},
		{`{"username":"\ud800\ud800"}`, login{}, false},
		{`{"username":"\udc00\ud800"}`, login{}, false},
		{`{"\udc00":1}`, login{}, false},
		{"{\"username\":\"a\nb\"}", login{}, false},
		{"{\"username\":\"a\\\nb\"}", login{}, false},
		{`{"username":"\x41"}`, login{}, false},
		{`{"username":"\u00"}`, login{}, false},
		{`{"username":"\u+0ff"}`, login{}, false},
		{`{"username":"\`, login{}, false},
		{`{"a":01}`, login{}, false},
		{`{"a":+1}`, login{}, false},
		{`{"a":.5}`, login{}, false},
		{`{"a":5.}`, login{}, false},
		{`{"a":1e}`, login{}, false},
		{`{"a":1e+-2}`, login{}, false},
		{`{"a":-}`, login{}, false},
		{`{"a":0x1}`, login{}, false},
		{`{"a":NaN}`, login{}, false},
		{`{"a":Infinity}`, login{}, false},
		{`{"a":True}`, login{}, false},
		{`{"a":nul}`, login{}, false},
		{`{"a":1 "b":2}`, login{}, false},
		{`{"a" 1}`, login{}, false},
		{`{1:2}`, login{}, false},
		{`[1,]`, login{}, false},
		{`[1 2]`, login{}, false},
		{`[`, login{}, false},
		{`/* */{}`, login{}, false},
		{"{}\u00a0", login{}, false},
		{deep(33), login{}, false},
		{strings.Repeat("[", 60000), login{}, false},
	} {
		var got login
		ok := readObject(c.body, got.Member)
		if ok != c.ok {
			t.Errorf("%.80q: passes %v, want %v", c.body, ok, c.ok)
		}
		if ok && got != c.want {
			t.Errorf("%.80q: got %q, want %q", c.body, got, c.want)
		}
	}
}

// What we take, the standard library takes too, and reads the same strings in it.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"username":"u","password":"p"}`, `{"a":[1,2,{"b":null}],"username":"\ud83d\udd11"}`, `{"username":"a","username":"b"}`,
		`[[[[]]]]`, `{"username":1e5,"password":"\u0000"}`, `"\u12`, `{"USERNAME":"u"}`, " {} ", `-0.1E+2`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var got login
		if !readObject(body, got.Member) {
			return
		}
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatalf("we take %q, but: %v", body, err)
		}
		object, _ := value.(map[string]any)
		username, _ := object["username"].(string)
		password, _ := object["password"].(string)
		if want := (login{username, password}); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	})
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f\u2028é\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendJSON(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !readObject(string(AppendJSON(nil, s)), nil) {
			t.Errorf("our own reader does not take %q", AppendJSON(nil, s))
		}
	})
}
