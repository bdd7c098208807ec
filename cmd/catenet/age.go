package main

import (
	"fmt"
	"time"

	"github.com/catenet/catenet"
)

// age tells a duration in one rounded unit, in docker's words.
func age(d time.Duration) string {
	plural := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	hours := int(d.Hours())
	switch {
	case d < time.Second:
		return "Less than a second"
	case d < time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute")
	case hours < 48:
		return plural(hours, "hour")
	case hours < 24*14:
		return plural(hours/24, "day")
	case hours < 24*60:
		return plural(hours/24/7, "week")
	case hours < 24*365*2:
		return plural(hours/24/30, "month")
	}
	return plural(hours/24/365, "year")
}

// status tells where a sandbox stands, as docker ps does.
func status(sb catenet.SandboxStatus) string {
	switch sb.State {
	case catenet.StateRunning:
		return "Up " + age(now().Sub(sb.Started))
	case catenet.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", sb.ExitCode, age(now().Sub(sb.Finished)))
	}
	return "Created"
}
