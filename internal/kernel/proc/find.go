package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// nameBytes is how much of a program's name the kernel knows (TASK_COMM_LEN).
const nameBytes = 15

// Find returns the ID of a process of that program in a network namespace; 0 for
// none.
func Find(program string, ns os.FileInfo) (int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	program = program[:min(len(program), nameBytes)]
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name, err := os.ReadFile("/proc/" + entry.Name() + "/comm")
		if err != nil || strings.TrimSuffix(string(name), "\n") != program {
			continue // or it has ended
		}
		if there, err := os.Stat("/proc/" + entry.Name() + "/ns/net"); err == nil && os.SameFile(ns, there) {
			return pid, nil
		}
	}
	return 0, nil
}
