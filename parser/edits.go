package parser

import "encoding/binary"

// Edits is what changes between the received bytes and those that leave: "received bytes plus this". Offsets are into the
// received bytes, whatever was edited before. Make one per loop and use it again: after warm-up it does not allocate.
//
// Text of Insert and Replace is appended to Text, between Begin and the call that says where it goes:
//
//	e.Begin()
//	e.Text = append(e.Text, "Via: ..."...)
//	e.Insert(at)
type Edits struct {
	Text  []byte
	begin int
	n     int
	full  bool
	edit  [MaxEdits]edit
}

// edit puts Text[text:text+length] in the place of n bytes at offset at.
type edit struct {
	at, n        uint32
	text, length uint32
}

// Reset forgets all edits and keeps the memory.
func (e *Edits) Reset() {
	e.Text = e.Text[:0]
	e.begin, e.n, e.full = 0, 0, false
}

// Len is the number of edits.
func (e *Edits) Len() int { return e.n }

// Err tells whether MaxEdits was passed; what would be rendered is not what was asked for then.
func (e *Edits) Err() bool { return e.full }

// Cut removes n bytes at offset at.
func (e *Edits) Cut(at, n int) { e.add(edit{at: uint32(at), n: uint32(n)}) }

// Begin marks the start of the text of the next Insert or Replace.
func (e *Edits) Begin() { e.begin = len(e.Text) }

// Insert puts the text since Begin before offset at. Edits at one offset keep the order of the calls.
func (e *Edits) Insert(at int) { e.Replace(at, 0) }

// Replace puts the text since Begin in the place of n bytes at offset at.
func (e *Edits) Replace(at, n int) {
	e.add(edit{uint32(at), uint32(n), uint32(e.begin), uint32(len(e.Text) - e.begin)})
	e.begin = len(e.Text)
}

// add keeps the edits in the order of their offsets. They mostly come so.
func (e *Edits) add(x edit) {
	if e.n == MaxEdits {
		e.full = true
		return
	}
	i := e.n
	for ; i > 0 && e.edit[i-1].at > x.at; i-- {
		e.edit[i] = e.edit[i-1]
	}
	e.edit[i] = x
	e.n++
}

// AppendTo appends src[:end] with the edits done to dst. dst must not overlap src.
// Parts of src that two edits remove are removed once; an edit behind end is taken to be at end.
func (e *Edits) AppendTo(dst, src []byte, end int) []byte { return e.AppendRange(dst, src, 0, end) }

// AppendRange is AppendTo for src[from:end]; no edit may lie before from.
func (e *Edits) AppendRange(dst, src []byte, from, end int) []byte {
	src = src[:min(end, len(src))]
	at := min(from, len(src))
	for i := range e.n {
		x := &e.edit[i]
		dst, at = appendEdit(dst, src, at, int(x.at), int(x.n), e.Text[x.text:x.text+x.length])
	}
	return append(dst, src[at:]...)
}

// Size is how many bytes AppendTo(dst, src, end) appends to dst, for a src of at least end bytes.
func (e *Edits) Size(end int) (size int) {
	at := 0
	for i := range e.n {
		x := &e.edit[i]
		editAt := min(int(x.at), end)
		if editAt > at {
			size, at = size+editAt-at, editAt
		}
		size += int(x.length)
		at = max(at, min(editAt+int(x.n), end))
	}
	return size + end - at
}

// TextOf is the text of edit i, 0 <= i < Len(). It borrows e until the next change.
func (e *Edits) TextOf(i int) []byte {
	x := &e.edit[i]
	return e.Text[x.text : x.text+x.length : x.text+x.length]
}

// Retext puts the text since Begin in the place of the text of edit i.
func (e *Edits) Retext(i int) {
	e.edit[i].text, e.edit[i].length = uint32(e.begin), uint32(len(e.Text)-e.begin)
	e.begin = len(e.Text)
}

// appendEdit appends src from at up to the edit, and its text; it returns where src goes on.
func appendEdit(dst, src []byte, at, editAt, n int, text []byte) ([]byte, int) {
	editAt = min(editAt, len(src))
	if editAt > at {
		dst = append(dst, src[at:editAt]...)
		at = editAt
	}
	dst = append(dst, text...)
	return dst, max(at, min(editAt+n, len(src)))
}

// Marshal appends a compact copy of the edits to dst: their number, and for each the distance from the one before, the bytes
// removed, the length of the text and the text; numbers as uvarints.
func (e *Edits) Marshal(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.n))
	at := uint32(0)
	for i := range e.n {
		x := &e.edit[i]
		dst = binary.AppendUvarint(dst, uint64(x.at-at))
		dst = binary.AppendUvarint(dst, uint64(x.n))
		dst = binary.AppendUvarint(dst, uint64(x.length))
		dst = append(dst, e.Text[x.text:x.text+x.length]...)
		at = x.at
	}
	return dst
}

// Unmarshal takes the place of all edits by those that Marshal wrote to b; it copies. With bytes that Marshal
// did not write it returns false and leaves no edits.
func (e *Edits) Unmarshal(b []byte) bool {
	e.Reset()
	w, ok := readEdits(b)
	for ok && w.left > 0 {
		var x edit
		var text []byte
		if x, text, ok = w.next(); ok {
			e.Begin()
			e.Text = append(e.Text, text...)
			e.Replace(int(x.at), int(x.n))
		}
	}
	if !ok || e.full || len(w.b) > 0 {
		e.Reset()
		return false
	}
	return true
}

// AppendEdited is AppendTo straight from the bytes that Marshal wrote. From the first byte on that Marshal cannot
// have written, it renders without edits.
func AppendEdited(dst, src []byte, end int, marshalled []byte) []byte {
	src = src[:min(end, len(src))]
	at := 0
	for w, ok := readEdits(marshalled); ok && w.left > 0; {
		var x edit
		var text []byte
		if x, text, ok = w.next(); ok {
			dst, at = appendEdit(dst, src, at, int(x.at), int(x.n), text)
		}
	}
	return append(dst, src[at:]...)
}

// editReader reads what Marshal wrote.
type editReader struct {
	b    []byte
	left uint32
	at   uint32
}

func readEdits(b []byte) (w editReader, ok bool) {
	w.b = b
	w.left, ok = w.number()
	return w, ok
}

func (w *editReader) number() (uint32, bool) {
	if len(w.b) > 0 && w.b[0] < 0x80 { // nearly always
		n := w.b[0]
		w.b = w.b[1:]
		return uint32(n), true
	}
	n, size := binary.Uvarint(w.b)
	if size <= 0 || n > 1<<31 {
		return 0, false
	}
	w.b = w.b[size:]
	return uint32(n), true
}

func (w *editReader) next() (x edit, text []byte, ok bool) {
	delta, ok1 := w.number()
	n, ok2 := w.number()
	length, ok3 := w.number()
	if !ok1 || !ok2 || !ok3 || int(length) > len(w.b) || uint64(w.at)+uint64(delta) > 1<<31 {
		return x, nil, false
	}
	text, w.b = w.b[:length:length], w.b[length:]
	w.at += delta
	w.left--
	return edit{at: w.at, n: n, length: length}, text, true
}
