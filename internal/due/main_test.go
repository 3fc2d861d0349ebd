package due_test

import (
	"os"
	"testing"

	"docket/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }
