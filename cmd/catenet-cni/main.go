// Command catenet-cni is the CNI plugin "catenet": it hands what a container
// runtime calls it with to the daemon, and prints what that answers. It is
// started for every call, so nothing is in it that need not be.
//
// While the daemon is away, a DEL is written down for its next start, and
// anything else is refused in the words of CNI: to be tried again later.
package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/catenet/catenet/api/cni/version"
	"github.com/catenet/catenet/api/pipe"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout))
}

func run(in io.Reader, out io.Writer) int {
	command := os.Getenv("CNI_COMMAND")
	if command == "VERSION" {
		return versions(out)
	}
	stdin, err := io.ReadAll(in)
	if err != nil {
		return fail(out, stdin, 5, "read the configuration: "+err.Error())
	}
	host := pipe.Socket(value(stdin, "daemon"))
	call := pipe.Call{Path: "/v1/cni", Env: pipe.Env("CNI_"), Stdin: stdin}
	send := pipe.Send
	if command == "DEL" {
		send = pipe.SendOrSave
	}
	a, err := send(host, call)
	switch {
	case err == nil:
		if _, err := out.Write(a.Stdout); err != nil {
			return 1
		}
		return a.Exit
	case command == "STATUS":
		return fail(out, stdin, 50, err.Error())
	}
	return fail(out, stdin, 11, err.Error())
}

// versions answers VERSION, which asks about the program alone.
func versions(out io.Writer) int {
	_, _ = io.WriteString(out, `{"cniVersion":"`+version.Newest+`","supportedVersions":["`+strings.Join(version.All[:], `","`)+`"]}`+"\n")
	return 0
}

// fail prints an error as CNI has it, and returns the exit code.
func fail(out io.Writer, stdin []byte, code int, message string) int {
	v := value(stdin, "cniVersion")
	if v == "" {
		v = version.Newest
	}
	_, _ = io.WriteString(out, `{"cniVersion":`+quote(v)+`,"code":`+strconv.Itoa(code)+`,"msg":`+quote("catenet: "+message)+
		`,"details":"is catenetd running?"}`+"\n")
	return 1
}

// quote writes a JSON string; what is no plain character becomes a space.
func quote(s string) string {
	return strconv.QuoteToASCII(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0xffff || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s))
}

// value finds the string that a key has in a JSON text, without reading all of
// it: only the daemon knows what a configuration means. "" if there is none.
func value(text []byte, key string) string {
	for rest := string(text); ; {
		_, after, found := strings.Cut(rest, `"`+key+`"`)
		if !found {
			return ""
		}
		rest = after
		after, colon := strings.CutPrefix(strings.TrimLeft(after, " \t\r\n"), ":")
		after, quoted := strings.CutPrefix(strings.TrimLeft(after, " \t\r\n"), `"`)
		v, _, ended := strings.Cut(after, `"`)
		if colon && quoted && ended && !strings.Contains(v, `\`) {
			return v
		}
	}
}
