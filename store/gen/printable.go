// Prints printable.c: the runes that Go's strconv.Quote leaves as they are, as ranges. Run with a Go
// whose unicode.Version is the one in printable.c ("go run printable.go > ../printable.c"): tree blobs
// written with another table would not be byte-equal to restic's.
package main

import (
	"fmt"
	"strconv"
	"unicode"
)

func main() {
	fmt.Printf("/* Made by gen/printable.go from Unicode %s: do not edit. */\n", unicode.Version)
	fmt.Print("#include \"store/gojson.h\"\n\n")
	fmt.Print("/* clang-format off */\nstatic const struct range {\n    uint32_t first, last;\n} ranges[] = {\n")
	count := 0
	for r := rune(0); r <= unicode.MaxRune; {
		if !strconv.IsPrint(r) {
			r++
			continue
		}
		first := r
		for r <= unicode.MaxRune && strconv.IsPrint(r) {
			r++
		}
		sep := " "
		if count%6 == 0 {
			sep = "\n    "
			if count == 0 {
				sep = "    "
			}
		}
		fmt.Printf("%s{0x%x, 0x%x},", sep, first, r-1)
		count++
	}
	fmt.Print("\n};\n/* clang-format on */\n")
	fmt.Print(`
bool gojson_printable(uint32_t rune)
{
    size_t low = 0, high = ARRAY_LEN(ranges);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (rune > ranges[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < ARRAY_LEN(ranges) && rune >= ranges[low].first;
}
`)
}
