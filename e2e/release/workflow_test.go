//go:build unix

package release_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"docket/internal/dbtest"
)

// workflow is what the tests need of .github/workflows/release.yml.
type workflow struct {
	Jobs map[string]struct {
		Steps []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

func readWorkflow(t *testing.T) (w workflow) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, "../../.github/workflows", "release.yml"), &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWorkflowKeepsNoCredentials shows that no step finds the workflow's token in the clone.
func TestWorkflowKeepsNoCredentials(t *testing.T) {
	t.Parallel()
	clones := 0
	for name, job := range readWorkflow(t).Jobs {
		for _, step := range job.Steps {
			if strings.HasPrefix(step.Uses, "actions/checkout@") {
				clones++
				if step.With["persist-credentials"] != false {
					t.Errorf("the job %s keeps credentials: %v", name, step.With)
				}
			}
		}
	}
	if clones == 0 {
		t.Error("no job clones the repository")
	}
}

// TestWorkflowReleasesCommitsOfMainOnly runs the first command of the job that all others need, on a commit of main and on
// another one.
func TestWorkflowReleasesCommitsOfMainOnly(t *testing.T) {
	t.Parallel()
	steps := readWorkflow(t).Jobs["build"].Steps
	if steps[0].With["fetch-depth"] != 0 {
		t.Errorf("the clone has no main: %v", steps[0].With)
	}
	var command string
	for _, step := range steps {
		if step.Run != "" {
			command = step.Run
			break
		}
	}
	dir := dbtest.Dir(t)
	const git = "git -c user.name=test -c user.email=test@example.com "
	_, err := shell(dir, nil, `git init --quiet --initial-branch=main origin && cd origin
		`+git+`commit --quiet --allow-empty --message one && `+git+`commit --quiet --allow-empty --message two
		git checkout --quiet -b other && `+git+`commit --quiet --allow-empty --message three
		git clone --quiet . ../clone`)
	if err != nil {
		t.Fatal(err)
	}
	for revision, released := range map[string]bool{"origin/main": true, "origin/main~1": true, "origin/other": false} {
		_, err := shell(filepath.Join(dir, "clone"), nil, "git checkout --quiet "+revision+" && "+command)
		if (err == nil) != released {
			t.Errorf("%s: %v", revision, err)
		}
	}
}
