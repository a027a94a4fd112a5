package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse/gatehouse/internal/beside"
)

func TestMain(m *testing.M) {
	// A program with the race detector sleeps for a second before it ends, and here hundreds of them do.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestScripts are sessions at the command line. Beside testscript's own commands they have
//
//	ready                     wait until the server at $ADMIN answers
//	http METHOD PATH [Name:Value]... [body]
//	                          ask the server at $LISTEN; status, headers and body go to stdout, the body on the last line
//	grab VARIABLE member...   take a value out of the JSON on the last line of stdout
//	unsaid VARIABLE...        what the last command said on stderr holds none of these values
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			for _, name := range []string{"LISTEN", "ADMIN"} {
				address, err := beside.FindAddress()
				if err != nil {
					return err
				}
				e.Setenv(name, address)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": cmdReady, "http": cmdHTTP, "grab": cmdGrab, "unsaid": cmdUnsaid,
		},
	})
}

// client goes through no proxy and keeps no connection.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// patience is how long something may take before a test gives it up.
const patience = 20 * time.Second

// eventually tries until ok says yes.
func eventually(ok func() bool) bool {
	late := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-late:
			return false
		case <-again.C:
		}
	}
	return true
}

func cmdReady(ts *testscript.TestScript, _ bool, _ []string) {
	url := "http://" + ts.Getenv("ADMIN") + "/readyz"
	if !eventually(func() bool {
		res, err := client.Get(url)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}) {
		ts.Fatalf("no server is ready at %s", url)
	}
}

func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: http METHOD PATH [Name:Value]... [body]")
	}
	var body io.Reader
	last := args[len(args)-1]
	if len(args) > 2 && strings.HasPrefix(last, "{") {
		body = strings.NewReader(last)
		args = args[:len(args)-1]
	}
	req, err := http.NewRequest(args[0], "http://"+ts.Getenv("LISTEN")+args[1], body)
	ts.Check(err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range args[2:] {
		name, value, _ := strings.Cut(h, ":")
		if name == "User" {
			user, password, _ := strings.Cut(value, ":")
			req.SetBasicAuth(user, password)
			continue
		}
		req.Header.Set(name, strings.TrimSpace(value))
	}
	res, err := client.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), res.StatusCode)
	res.Header.Write(ts.Stdout())
	fmt.Fprintf(ts.Stdout(), "%s\n", bytes.TrimSpace(text))
}

func cmdGrab(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var v any
	d := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("grab: the last line of stdout is no JSON: %v", err)
	}
	for _, name := range args[1:] {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			if i >= len(in) {
				ts.Fatalf("grab: there are %d members, none is number %d", len(in), i)
			}
			v = in[i]
		}
		if v == nil {
			ts.Fatalf("grab: nothing is called %s", name)
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func cmdUnsaid(ts *testscript.TestScript, _ bool, args []string) {
	said := ts.ReadFile("stderr")
	for _, name := range args {
		value := ts.Getenv(name)
		if value == "" {
			ts.Fatalf("unsaid: %s is empty", name)
		}
		if strings.Contains(said, value) {
			ts.Fatalf("stderr holds $%s", name)
		}
	}
}
