// Prints the digests that tests/unit/store_format_test.c holds: every rune, and 100 000 strings of
// random bytes, as a node's name and as a plain string ("go run quote_golden.go").
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"
)

func add(h hash.Hash, s string) {
	quoted := strconv.Quote(s)
	name, _ := json.Marshal(quoted[1 : len(quoted)-1])
	text, _ := json.Marshal(s)
	h.Write(name)
	h.Write([]byte("\n"))
	h.Write(text)
	h.Write([]byte("\n"))
}

func main() {
	runes := sha256.New()
	for r := rune(0); r <= 0x10ffff; r++ {
		if r < 0xd800 || r > 0xdfff {
			add(runes, string(r))
		}
	}
	random := sha256.New()
	state := uint64(42)
	next := func() uint64 {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		return z ^ (z >> 31)
	}
	for i := 0; i < 100000; i++ {
		b := make([]byte, next()%16)
		for k := range b {
			b[k] = byte(next())
		}
		add(random, string(b))
	}
	fmt.Printf("runes  %x\nrandom %x\n", runes.Sum(nil), random.Sum(nil))
}
