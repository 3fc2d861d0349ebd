package recurrence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/internal/due"
)

// MaxLength is the length in bytes of the longest rule that Parse accepts.
const MaxLength = 255

// PartError says which part of a rule is wrong, and why.
type PartError struct {
	Part   string // such as BYDAY; as it was written if there is no part of that name; "" if the rule as a whole is wrong
	Code   string // one of the codes of an entry of a problem's errors: not_one_of, out_of_range, …
	Detail string // a sentence for people

	Min, Max int      // that an out_of_range number may be; Max 0: not known
	Allowed  []string // if the value is not_one_of them
}

func (e *PartError) Error() string { return e.Detail }

// Parse reads a rule. Names and values may be in any case, and the parts in any order. The error is nil or names the part
// that is wrong.
func Parse(text string) (Rule, *PartError) {
	if len(text) > MaxLength {
		return Rule{}, &PartError{Code: "too_long", Detail: fmt.Sprintf("The rule must not be longer than %d characters.", MaxLength), Max: MaxLength}
	}
	r := Rule{until: due.MaxDate}
	var seen []string
	for part := range strings.SplitSeq(upper(text), ";") {
		name, value, _ := strings.Cut(part, "=")
		if slices.Contains(seen, name) {
			return Rule{}, &PartError{Part: name, Code: due.CodeConflict, Detail: name + " must not be given twice."}
		}
		seen = append(seen, name)
		if err := r.set(name, value); err != nil {
			return Rule{}, err
		}
	}
	if err := r.check(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// upper returns s in upper case. Unlike strings.ToUpper it leaves letters alone that only become ASCII by that, such as ı.
func upper(s string) string {
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c - 'a' + 'A'
		}
		return c
	}, s)
}

// set sets one part to its value.
func (r *Rule) set(name, value string) (err *PartError) {
	switch name {
	case "FREQ":
		r.freq = frequency(value)
		if allowed := []string{string(daily), string(weekly), string(monthly), string(yearly)}; !slices.Contains(allowed, value) {
			return &PartError{
				Part: name, Code: "not_one_of", Detail: fmt.Sprintf("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY, not %q.", value), Allowed: allowed,
			}
		}
	case "INTERVAL":
		r.interval, err = number(name, value, 999)
	case "BYDAY":
		r.byDay, err = parseWeekdays(value)
	case "BYMONTHDAY":
		r.byMonthDay, err = numbers(name, value, 31)
	case "BYMONTH":
		for text := range strings.SplitSeq(value, ",") {
			month, err := number(name, text, 12)
			if err != nil {
				return err
			}
			r.byMonth = append(r.byMonth, month)
		}
		r.byMonth = sortedSet(r.byMonth, cmp.Compare)
	case "BYSETPOS":
		r.bySetPos, err = numbers(name, value, 366)
	case "WKST":
		r.weekStart = value
		if !slices.Contains(weekdays, value) {
			return &PartError{
				Part: name, Code: "not_one_of", Detail: fmt.Sprintf("WKST must be MO, TU, WE, TH, FR, SA or SU, not %q.", value), Allowed: weekdays,
			}
		}
	case "COUNT":
		r.count, err = number(name, value, 9999)
	case "UNTIL":
		r.hasUntil = true
		r.until, err = parseUntil(value)
	case "":
		return invalid(name, "The rule has an empty part. It must look like FREQ=WEEKLY;BYDAY=MO.")
	default:
		return invalid(name, fmt.Sprintf("A rule cannot have the part %q.", name))
	}
	return err
}

// check refuses combinations of parts that are each valid.
func (r *Rule) check() *PartError {
	forbidden := func(part, detail string) *PartError {
		return &PartError{Part: part, Code: due.CodeConflict, Detail: detail}
	}
	most := 0 // numbers that BYDAY may have
	switch {
	case r.freq == "":
		return invalid("FREQ", "A rule must have the part FREQ, as in FREQ=WEEKLY;BYDAY=MO.")
	case r.freq == yearly && len(r.byMonth) == 0:
		most = 53
	case r.freq == yearly, r.freq == monthly:
		most = 5
	}
	for _, w := range r.byDay {
		if w.n != 0 && most == 0 {
			return forbidden("BYDAY", fmt.Sprintf("BYDAY may have a number, as in %v, only if FREQ is MONTHLY or YEARLY.", w))
		}
		if w.n < -most || w.n > most {
			return &PartError{
				Part: "BYDAY", Code: due.CodeOutOfRange, Detail: fmt.Sprintf("BYDAY has %v, but no month has so many.", w), Min: -most, Max: most,
			}
		}
	}
	switch {
	case r.freq == weekly && len(r.byMonthDay) > 0:
		return forbidden("BYMONTHDAY", "BYMONTHDAY must not be given if FREQ is WEEKLY.")
	case len(r.bySetPos) > 0 && len(r.byDay)+len(r.byMonthDay)+len(r.byMonth) == 0:
		return forbidden("BYSETPOS", "BYSETPOS must not be given without BYDAY, BYMONTHDAY or BYMONTH.")
	case r.count > 0 && r.hasUntil:
		return forbidden("UNTIL", "COUNT and UNTIL must not be given together.")
	}
	return nil
}

// invalid returns the error of a part that is not written as it must be.
func invalid(part, detail string) *PartError {
	return &PartError{Part: part, Code: due.CodeInvalidFormat, Detail: detail}
}

// number reads a number from 1 to most.
func number(part, text string, most int) (int, *PartError) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, invalid(part, fmt.Sprintf("%s must be a number, not %q.", part, text))
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &PartError{
			Part: part, Code: due.CodeOutOfRange, Detail: fmt.Sprintf("%s must be from 1 to %d, not %s.", part, most, text), Min: 1, Max: most,
		}
	}
	return n, nil
}

// signedNumber reads a number from 1 to most that may have a sign.
func signedNumber(part, text string, most int) (int, *PartError) {
	digits, negative := strings.CutPrefix(text, "-")
	if !negative {
		digits = strings.TrimPrefix(text, "+")
	}
	n, err := number(part, digits, most)
	if err != nil {
		err.Detail, err.Min = strings.TrimSuffix(err.Detail, ".")+", with or without a sign.", -err.Max
	}
	if negative {
		n = -n
	}
	return n, err
}

// numbers reads a list of signed numbers.
func numbers(part, text string, most int) ([]int, *PartError) {
	var list []int
	for item := range strings.SplitSeq(text, ",") {
		n, err := signedNumber(part, item, most)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return sortedSet(list, cmp.Compare), nil
}

// parseWeekdays reads a list such as MO,-1FR. The result begins with Monday.
func parseWeekdays(text string) ([]weekday, *PartError) {
	var list []weekday
	for item := range strings.SplitSeq(text, ",") {
		digits, name := "", item
		if len(item) > 2 {
			digits, name = item[:len(item)-2], item[len(item)-2:]
		}
		day := slices.Index(weekdays, name)
		if day < 0 {
			return nil, invalid("BYDAY", fmt.Sprintf("BYDAY must be days such as MO or 2TU, not %q.", item))
		}
		w := weekday{day: time.Weekday(day)}
		if digits != "" {
			var err *PartError
			if w.n, err = signedNumber("BYDAY", digits, 53); err != nil {
				return nil, err
			}
		}
		list = append(list, w)
	}
	return sortedSet(list, func(a, b weekday) int {
		return cmp.Or(cmp.Compare((a.day+6)%7, (b.day+6)%7), cmp.Compare(a.n, b.n))
	}), nil
}

// parseUntil reads a date in the form 20261231.
func parseUntil(text string) (due.Date, *PartError) {
	if len(text) == len("20261231") && strings.Trim(text, "0123456789") == "" {
		if d, err := due.ParseDate(text[:4] + "-" + text[4:6] + "-" + text[6:]); err == nil {
			return d, nil
		}
	}
	return 0, invalid("UNTIL", fmt.Sprintf("UNTIL must be a date such as 20261231, not %q.", text))
}
