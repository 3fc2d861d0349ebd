package problem

// The codes of faults. They are stable once released, and the list grows.
const (
	FaultRequired         = "required"
	FaultBlank            = "blank"
	FaultTooShort         = "too_short"
	FaultTooLong          = "too_long"
	FaultOutOfRange       = "out_of_range"
	FaultNotOneOf         = "not_one_of"
	FaultInvalidType      = "invalid_type"
	FaultInvalidFormat    = "invalid_format"
	FaultInvalidCharacter = "invalid_character"
	FaultUnknown          = "unknown"
	FaultRepeated         = "repeated"
	FaultConflict         = "conflict"
)

// FaultCodes lists every code of a fault with what it means.
var FaultCodes = [][2]string{
	{FaultRequired, "Something that is needed is not there."},
	{FaultBlank, "A text has no visible character."},
	{FaultTooShort, "A text has fewer characters than `min`, or a list fewer entries."},
	{FaultTooLong, "A text has more characters than `max`, or a list more entries."},
	{FaultOutOfRange, "A number is less than `min` or greater than `max`."},
	{FaultNotOneOf, "The value is none of those in `allowed`."},
	{FaultInvalidType, "The value has the wrong type, such as a number instead of a string."},
	{FaultInvalidFormat, "The value does not have the form that the document describes."},
	{FaultInvalidCharacter, "A text contains a character that cannot be stored."},
	{FaultUnknown, "Nothing has this name here; `allowed` has the names."},
	{FaultRepeated, "A name occurs twice."},
	{FaultConflict, "The value contradicts another part of the request."},
}
