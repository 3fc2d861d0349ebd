package deploy

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// flyConfig has the keys of fly.toml that are used here, as its reference names and types them.
type flyConfig struct {
	App           string `toml:"app"`
	PrimaryRegion string `toml:"primary_region"`
	KillSignal    string `toml:"kill_signal"`
	KillTimeout   string `toml:"kill_timeout"`
	Build         struct {
		Dockerfile string            `toml:"dockerfile"`
		Args       map[string]string `toml:"args"`
	} `toml:"build"`
	Deploy struct {
		ReleaseCommand string  `toml:"release_command"`
		Strategy       string  `toml:"strategy"`
		MaxUnavailable float64 `toml:"max_unavailable"`
	} `toml:"deploy"`
	Env         map[string]string `toml:"env"`
	HTTPService struct {
		InternalPort       int    `toml:"internal_port"`
		ForceHTTPS         bool   `toml:"force_https"`
		AutoStopMachines   string `toml:"auto_stop_machines"`
		AutoStartMachines  bool   `toml:"auto_start_machines"`
		MinMachinesRunning int    `toml:"min_machines_running"`
		Concurrency        struct {
			Type      string `toml:"type"`
			SoftLimit int    `toml:"soft_limit"`
		} `toml:"concurrency"`
		Checks []struct {
			Method      string `toml:"method"`
			Path        string `toml:"path"`
			Interval    string `toml:"interval"`
			Timeout     string `toml:"timeout"`
			GracePeriod string `toml:"grace_period"`
		} `toml:"checks"`
	} `toml:"http_service"`
	Metrics struct {
		Port int    `toml:"port"`
		Path string `toml:"path"`
	} `toml:"metrics"`
	VM []struct {
		Size   string `toml:"size"`
		Memory string `toml:"memory"`
	} `toml:"vm"`
}

func TestFlyRunsTheServiceAsItIsDocumented(t *testing.T) {
	t.Parallel()
	const name = "deploy/fly/fly.toml"
	var c flyConfig
	check(t, toml.NewDecoder(strings.NewReader(read(t, name))).DisallowUnknownFields().Decode(&c))
	checkEnvironment(t, name, c.Env)
	checkCommand(t, name, strings.Fields(c.Deploy.ReleaseCommand))
	grace, err := time.ParseDuration(c.KillTimeout)
	check(t, err)
	delay := checkGrace(t, name, grace, c.Env)
	checkPort(t, name, c.Env, "ADDR", strconv.Itoa(c.HTTPService.InternalPort))
	checkPort(t, name, c.Env, "METRICS_ADDR", strconv.Itoa(c.Metrics.Port))
	if c.KillSignal != "SIGTERM" || c.Metrics.Path != "/metrics" || len(c.HTTPService.Checks) != 1 {
		t.Errorf("%+v", c)
	}
	for _, probe := range c.HTTPService.Checks {
		checkProbe(t, name, probe.Path)
		interval, err := time.ParseDuration(probe.Interval)
		check(t, err)
		if probe.Method != http.MethodGet || probe.Path != "/health/ready" || interval >= delay {
			t.Errorf("%+v, SHUTDOWN_DELAY is %v", probe, delay)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "deploy/fly", c.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	if c.Env["DATABASE_URL"] != "" || !strings.Contains(c.App, "REPLACE") {
		t.Errorf("it has the settings of somebody: %+v", c)
	}
}
