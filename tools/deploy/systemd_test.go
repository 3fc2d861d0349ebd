//go:build linux

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// units are the units, with the commands that they run.
var units = map[string]string{"docket.service": "serve", "docket-migrate.service": "migrate up"}

var settingPattern = regexp.MustCompile(`(?m)^(\w+)=(.*)$`)

// unit returns the settings of a unit. Of a setting that is repeated it has the last value.
func unit(t testing.TB, name string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for _, match := range settingPattern.FindAllStringSubmatch(read(t, "deploy/systemd/"+name), -1) {
		settings[match[1]] = match[2]
	}
	return settings
}

// analyze runs systemd-analyze on copies of the units, in which the binary is one that exists.
func analyze(t testing.TB, unit string, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("this test needs systemd-analyze, which is not installed: install the package systemd")
	}
	text := read(t, "deploy/systemd/"+unit)
	runs := strings.Replace(text, "/usr/local/bin/docket ", binary+" ", 1)
	if runs == text {
		t.Errorf("%s does not run /usr/local/bin/docket", unit)
	}
	path := filepath.Join(t.TempDir(), unit)
	check(t, os.WriteFile(path, []byte(runs), 0o644))
	out, err := exec.Command(program, append(args, path)...).CombinedOutput()
	return string(out), err
}

func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	for name := range units {
		if out, err := analyze(t, name, "verify", "--man=no", "--recursive-errors=no"); err != nil || out != "" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The exposure is from 0 to 100. Of what is left, most is the network.
func TestUnitsAreConfined(t *testing.T) {
	t.Parallel()
	for name := range units {
		if out, err := analyze(t, name, "security", "--offline=yes", "--threshold=15"); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestUnitsRunTheServiceAsItIsDocumented(t *testing.T) {
	t.Parallel()
	for name, command := range units {
		settings := unit(t, name)
		if settings["ExecStart"] != "/usr/local/bin/docket "+command {
			t.Errorf("%s runs %s", name, settings["ExecStart"])
		}
		checkCommand(t, name, strings.Fields(command))
		if !strings.HasPrefix(settings["EnvironmentFile"], "/etc/docket/") {
			t.Errorf("%s reads its secrets from %s", name, settings["EnvironmentFile"])
		}
	}
	settings := unit(t, "docket.service")
	variable, value, _ := strings.Cut(settings["Environment"], "=")
	environment := map[string]string{variable: value}
	checkEnvironment(t, "docket.service", environment)
	grace, err := time.ParseDuration(settings["TimeoutStopSec"])
	check(t, err)
	checkGrace(t, "docket.service", grace, environment)
	// Go ends with 2 after a panic, as docket does with a wrong environment, so no exit code may keep the service down.
	if settings["Restart"] != "always" || settings["RestartSec"] != "2s" || settings["StartLimitIntervalSec"] != "0" {
		t.Errorf("it is restarted %s after %s, and not forever", settings["Restart"], settings["RestartSec"])
	}
	if status, found := settings["RestartPreventExitStatus"]; found {
		t.Errorf("it is not restarted after %s", status)
	}
	if _, found := settings["ProcSubset"]; found {
		t.Error("it cannot read /proc: Go takes the length of the queue of new connections from there, and the metrics the start time")
	}
}
