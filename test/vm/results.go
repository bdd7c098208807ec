package vm

import (
	"regexp"
	"strings"
)

// result is one test inside, in the order in which they began.
type result struct {
	name   string
	status string // PASS, FAIL, SKIP; "" if it did not end
	took   string
	output []string // lines
}

var (
	began = regexp.MustCompile(`^=== (?:RUN|NAME|CONT|PAUSE) +(\S*)$`)
	ended = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \((\S+)\)$`)
)

// parse reads what a test binary prints with -test.v=test2json: lines that tell
// of a test begin with 0x16, wherever in the stream they stand; what follows is
// of the test named last, or of none.
func parse(output string) []result {
	var results []result
	at := map[string]int{}
	of := func(name string) int {
		i, known := at[name]
		if !known {
			i = len(results)
			at[name] = i
			results = append(results, result{name: name})
		}
		return i
	}
	current := -1
	for _, line := range strings.Split(strings.ReplaceAll(output, "\x16", "\n\x16"), "\n") {
		told, marked := strings.CutPrefix(line, "\x16")
		begin, end := began.FindStringSubmatch(told), ended.FindStringSubmatch(told)
		switch {
		case marked && begin != nil && begin[1] == "":
			current = -1
		case marked && begin != nil:
			current = of(begin[1])
		case marked && end != nil:
			current = of(end[2])
			results[current].status, results[current].took = end[1], end[3]
		case current >= 0 && strings.TrimSpace(line) != "":
			results[current].output = append(results[current].output, line)
		}
	}
	return results
}
