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
	stdin, err := pipe.Read(in)
	if err != nil {
		return fail(out, stdin, 5, "read the configuration: "+err.Error(), "")
	}
	if command == "VERSION" {
		return versions(out, stdin)
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
		return fail(out, stdin, 50, err.Error(), running)
	}
	return fail(out, stdin, 11, err.Error(), running)
}

// running is what to look at when the daemon does not answer.
const running = "is catenetd running?"

// spoken is the version of the specification that a configuration is written in.
func spoken(stdin []byte) string {
	if v := value(stdin, "cniVersion"); v != "" {
		return v
	}
	return version.Newest
}

// versions answers VERSION, which asks about the program alone.
func versions(out io.Writer, stdin []byte) int {
	_, _ = io.WriteString(out, `{"cniVersion":`+quote(spoken(stdin))+`,"supportedVersions":["`+strings.Join(version.All[:], `","`)+`"]}`+"\n")
	return 0
}

// fail prints an error as CNI has it, and returns the exit code.
func fail(out io.Writer, stdin []byte, code int, message, details string) int {
	_, _ = io.WriteString(out, `{"cniVersion":`+quote(spoken(stdin))+`,"code":`+strconv.Itoa(code)+`,"msg":`+quote("catenet: "+message)+
		`,"details":`+quote(details)+"}\n")
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

// value finds the string that a key has in a JSON object, not in one inside of
// it, without reading more than that: only the daemon knows what a configuration
// means. "" if there is none, or one that is not written as it is.
func value(text []byte, key string) string {
	depth, name := 0, ""
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 1 {
				name = ""
			}
		case '"':
			word, length := word(text[i+1:])
			i += length
			switch {
			case depth != 1:
			case name == "":
				name = word
			case name == key:
				if strings.Contains(word, `\`) {
					return ""
				}
				return word
			}
		}
	}
	return ""
}

// word reads a JSON string behind its first quotation mark, and says how long it
// is with its last one. It is "" if that is missing.
func word(text []byte) (s string, length int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return string(text[:i]), i + 1
		}
	}
	return "", len(text)
}
