package store

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// fault D5
func TestSearchFindsTextHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	alike := [][]string{ // every text finds every other
		{"report", "REPORT", "rePort", "ＲＥＰＯＲＴ"},
		{"ΟΔΟΣ", "οδος", "οδοσ", "Οδος", "ΟΔΟς"},
		{"ΟΔΌΣ ΑΘΗΝΏΝ", "οδός αθηνών", "οδόσ αθηνών"},
		{"Straße", "STRASSE", "strasse", "STRAẞE", "straße"},
		{"\u00e9t\u00e9", "e\u0301te\u0301", "ÉTÉ", "E\u0301TE\u0301"},
		{"Ångström", "a\u030angstro\u0308m", "\u212bNGSTRÖM"},
		{"ПРИВЕТ", "привет", "Привет"},
		{"ԲԱՐԵՎ", "բարեվ"},
		{"İstanbul", "istanbul", "ISTANBUL", "i\u0307stanbul"},
		{"office", "o\ufb03ce", "OFFICE"},
		{"안녕", "\u110b\u1161\u11ab\u1102\u1167\u11bc"},
		{"日本語"},
		{"🎉 done", "🎉 DONE"},
	}
	apart := [][2]string{{"e", "é"}, {"ue", "ü"}, {"o", "ø"}, {"маи", "май"}} // the first does not find the second
	for name, database := range map[string]struct{ locale, without string }{
		"C":                    {"C", "none"},
		"C.UTF-8":              {"C.UTF-8", "none"},
		"C without ICU":        {"C", "%-x-icu"},
		"C.UTF-8 without ICU":  {"C.UTF-8", "%-x-icu"},
		"C.UTF-8 and no other": {"C.UTF-8", "%"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, Config{URL: migratedWithLocale(t, database.locale, database.without)}).For("ada")
			for _, texts := range alike {
				for i, text := range texts {
					inTitle := create(t, o, "a "+text+" b")
					inDescription, err := o.CreateTask(t.Context(), NewTask{Title: "x", Description: new("(" + text + ")")})
					if err != nil {
						t.Fatal(err)
					}
					want := []string{inTitle.ID, inDescription.ID}
					slices.Sort(want)
					for _, search := range append(slices.Clone(texts), texts[i]+")", "a "+texts[i])[:len(texts)] {
						page := list(t, o, TaskQuery{Search: search, Limit: 10})
						var got []string
						for _, task := range page.Tasks {
							got = append(got, task.ID)
						}
						slices.Sort(got)
						if !slices.Equal(got, want) || page.Total != 2 {
							t.Errorf("%+q does not find %+q: %d tasks, total %d", search, text, len(got), page.Total)
						}
					}
					for _, id := range want {
						if _, err := o.DeleteTask(t.Context(), id); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for _, pair := range apart {
				task := create(t, o, pair[1])
				if page := list(t, o, TaskQuery{Search: pair[0], Limit: 10}); page.Total != 0 {
					t.Errorf("%q finds %q", pair[0], pair[1])
				}
				if _, err := o.DeleteTask(t.Context(), task.ID); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A database whose only collation knows no letters but those of ASCII still finds what is written alike.
func TestSearchFindsTheSameTextWhateverTheDatabaseKnows(t *testing.T) {
	t.Parallel()
	o := open(t, Config{URL: migratedWithLocale(t, "C", "%")}).For("ada")
	for _, text := range []string{"REPORT É", "ΟΔΟΣ", "Straße", "été", "İstanbul", "a%b_c\\"} {
		create(t, o, "the "+text)
		if page := list(t, o, TaskQuery{Search: text, Limit: 10}); page.Total != 1 {
			t.Errorf("%q finds %d tasks with it", text, page.Total)
		}
	}
	if page := list(t, o, TaskQuery{Search: "report", Limit: 10}); page.Total != 1 {
		t.Errorf("report finds %d tasks", page.Total)
	}
}

func TestSearchDoesNotJoinTitleAndDescription(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	o := open(t, Config{URL: address}).For("ada")
	if _, err := o.CreateTask(t.Context(), NewTask{Title: "oat", Description: new("milk")}); err != nil {
		t.Fatal(err)
	}
	for _, search := range []string{"oatmilk", "oat milk", "oat\nmilk", "oatAmilk", "oatamilk", "tAm", "A"} {
		want := int64(0)
		if search == "A" { // of oat
			want = 1
		}
		if page := list(t, o, TaskQuery{Search: search, Limit: 10}); page.Total != want {
			t.Errorf("%q finds %d tasks, want %d", search, page.Total, want)
		}
	}
}

// fault D5
func TestAChangedTaskIsFoundByItsNewText(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	o := open(t, Config{URL: address}).For("ada")
	task := create(t, o, "ΟΔΟΣ")
	changes := TaskChanges{Title: Set("Straße"), Description: Set(new("ÉTÉ"))}
	if _, err := o.UpdateTask(t.Context(), task.ID, changes); err != nil {
		t.Fatal(err)
	}
	for search, want := range map[string]int64{"οδος": 0, "strasse": 1, "e\u0301te\u0301": 1} {
		if page := list(t, o, TaskQuery{Search: search, Limit: 10}); page.Total != want {
			t.Errorf("%q finds %d tasks, want %d", search, page.Total, want)
		}
	}
}

// A key stores the response and not what is derived for searches.
func TestAKeyDoesNotStoreTheTextOfSearches(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	createOnce(t, open(t, Config{URL: address}).For("ada"), "key", NewTask{Title: "Some title"})
	if stored := value[string](t, connect(t, address), "select response::text from idempotency_key"); strings.Contains(stored, "search_text") {
		t.Error(stored)
	}
}

// migratedWithLocale returns the address of a new database with that locale and the user ada, which was migrated when it
// lacked the collations whose names match a pattern of like.
func migratedWithLocale(t *testing.T, locale, without string) string {
	t.Helper()
	server := connect(t, dbtest.Empty(t))
	name := fmt.Sprintf("locale_%d", server.PgConn().PID())
	execute(t, server, fmt.Sprintf("create database %s template template0 encoding 'UTF8' lc_collate '%[2]s' lc_ctype '%[2]s'", name, locale))
	u, err := url.Parse(server.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	address := u.String()
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), server.Config().ConnString())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	conn := connect(t, address)
	execute(t, conn, devdb.UserFixtureSQL)
	execute(t, conn, `delete from pg_collation where collname like $1 and collname not in ('default', 'C', 'POSIX')`, without)
	if err := migrations.Up(t.Context(), address, io.Discard); err != nil {
		t.Fatal(err)
	}
	dbtest.AddUser(t, address, "ada")
	return address
}
