// Command catenet-netavark stands where Podman looks for netavark, and hands
// its calls to the daemon. By the name catenet in a folder of netavark's
// plugins it is the driver of that name.
package main

import (
	"os"
	"slices"
	"strings"

	"github.com/catenet/catenet/api/pipe"
)

func main() {
	stdout, exit := run(os.Args[1:])
	if _, err := os.Stdout.Write(stdout); err != nil {
		exit = 1
	}
	os.Exit(exit)
}

// run makes the call that the arguments are. A teardown that finds no daemon is
// written down for its next start.
func run(args []string) (stdout []byte, exit int) {
	args, file := cutFile(args)
	call := pipe.Call{Path: "/v1/netavark", Args: args}
	send := pipe.Send
	if slices.Contains(args, "teardown") {
		send = pipe.SendOrSave
	}
	var err error
	// Of others standard input may never end.
	if slices.ContainsFunc(args, func(a string) bool { return a == "setup" || a == "teardown" || a == "create" }) {
		if call.Stdin, err = input(file); err != nil {
			return failure(err.Error()), 1
		}
	}
	answer, err := send("", call)
	if err != nil {
		text := err.Error()
		if slices.Contains(args, "--rootless=true") { // it may not come near the daemon
			text = "Podman without root has a host of its own, which catenet's networks do not reach: run podman as root, or leave --network out"
		}
		return failure(text), 1
	}
	return answer.Stdout, answer.Exit
}

// cutFile takes -f FILE out of the arguments: which file that is only its
// caller can tell.
func cutFile(args []string) (rest []string, file string) {
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		switch {
		case name != "-f" && name != "--file":
			rest = append(rest, args[i])
		case joined:
			file = value
		case i+1 < len(args):
			i++
			file = args[i]
		}
	}
	return rest, file
}

// input reads the request: from standard input unless a file is named.
func input(file string) ([]byte, error) {
	if file == "" || file == "-" {
		return pipe.Read(os.Stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return pipe.Read(f)
}

// failure is an error as Podman reads it.
func failure(text string) []byte {
	text = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `: `).Replace(text)
	text = strings.Map(func(r rune) rune { return max(r, ' ') }, text) // RFC 8259, 7
	return []byte(`{"error":"` + text + "\"}\n")
}
