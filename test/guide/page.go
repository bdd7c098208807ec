// Package guide runs the commands of the user guide (docs/guide), so that it
// stays true: each page on machines of its own, with the real daemon.
//
// A block that is run is fenced as "console". A line of it that begins with a
// prompt is a command; what follows is what it prints:
//
//	# catenet network create front          on the host that has the daemon
//	outside# curl http://192.0.2.1:8080/    on a machine beside it
//	hand# ip link add br0 type bridge       on one without catenet
//	second# catenet network ls              on a second host that has the daemon
//
// A command that prints nothing here may print anything. "…" stands for
// anything within a line, with the spaces around it, and alone on a line for
// any lines. A command has to succeed, unless what it prints begins with
// "catenet: ", as errors do, and not with "catenet: warning: ". A command of
// several lines goes on as in a shell, on lines that begin with "> ". A command
// that asks somebody (curl, dig, logs, …) is asked again for a while, since
// programs that were started before it take a moment to listen.
// <!-- console … --> hides a block that a page needs and a reader does not.
package guide

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one command of a page, and what it is to print.
type Step struct {
	Line    int // in the page, from 1
	Machine string
	Command string
	Want    []string
}

// prompt begins a command: the machine's name, none for the host.
var prompt = regexp.MustCompile(`^(outside|hand|second|)# (.*)$`)

// Steps reads the commands of a page.
func Steps(page string) (steps []Step, err error) {
	end := "" // of the block that we are in
	for i, line := range strings.Split(page, "\n") {
		switch {
		case end == "" && line == "```console":
			end = "```"
		case end == "" && line == "<!-- console":
			end = "-->"
		case line == end:
			end = ""
		case end == "":
		default:
			if steps, err = add(steps, i+1, line); err != nil {
				return nil, err
			}
		}
	}
	if end != "" {
		return nil, fmt.Errorf("the last block has no end")
	}
	return steps, nil
}

// add takes one more line of a block.
func add(steps []Step, number int, line string) ([]Step, error) {
	if m := prompt.FindStringSubmatch(line); m != nil {
		return append(steps, Step{Line: number, Machine: m[1], Command: m[2]}), nil
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("line %d: a block begins with a command, behind a prompt", number)
	}
	last := &steps[len(steps)-1]
	if more, is := strings.CutPrefix(line, "> "); is && len(last.Want) == 0 {
		last.Command += "\n" + more
	} else {
		last.Want = append(last.Want, line)
	}
	return steps, nil
}

// question is a command that changes nothing and waits for somebody.
var question = regexp.MustCompile(`\b(curl|dig|events|getent|logs|ping|socat -u)\b`)

// asks reports whether the command may be given again.
func (s Step) asks() bool { return question.MatchString(s.Command) }

// Fails reports whether the command is to fail.
func (s Step) Fails() bool {
	return len(s.Want) > 0 && strings.HasPrefix(s.Want[0], "catenet: ") && !strings.HasPrefix(s.Want[0], "catenet: warning: ")
}

// is reports whether the command has ended as the page says.
func (s Step) is(output string, code int) bool { return (code != 0) == s.Fails() && s.Matches(output) }

// gap is where a page leaves something out. With the spaces around it, so that
// columns can stand below each other.
var gap = regexp.MustCompile(" *… *")

// Matches reports whether the output is what the page shows.
func (s Step) Matches(output string) bool {
	if len(s.Want) == 0 {
		return true
	}
	var re strings.Builder
	for _, line := range s.Want {
		if line == "…" {
			re.WriteString(`(?:.*\n)*`)
			continue
		}
		re.WriteString(gap.ReplaceAllString(regexp.QuoteMeta(strings.TrimRight(line, " ")), ".*") + ` *\n`)
	}
	return regexp.MustCompile(`^` + re.String() + `$`).MatchString(strings.TrimRight(output, "\n") + "\n")
}
