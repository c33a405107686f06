package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sipedge/parser"
)

// HeaderEdits are changes that a policy makes to the header fields of a request that goes on.
type HeaderEdits struct {
	Remove []string // names, in any case, long or compact: all header fields of that name go
	Add    []string // "NAME: VALUE", without a line end: appended behind the others
}

// HeaderEditsID names HeaderEdits of a Core; 0: no changes.
type HeaderEditsID uint16

// headerEdits is HeaderEdits ready for use.
type headerEdits struct {
	known uint64   // by parser.HeaderID
	names []string // the others
	text  string
}

// ownHeaders are those that the proxy's own work depends on: forward edits them, or has to find them as they were.
var ownHeaders = []parser.HeaderID{
	parser.HeaderVia, parser.HeaderFrom, parser.HeaderTo, parser.HeaderCallID, parser.HeaderCSeq, parser.HeaderMaxForwards,
	parser.HeaderRoute, parser.HeaderRecordRoute, parser.HeaderPath, parser.HeaderContentLength, parser.HeaderMaxBreadth,
}

// headerTable is an append-only list. An id is never given to other edits. Safe for concurrent use; at takes no lock.
type headerTable struct {
	list atomic.Pointer[[]headerEdits]
	mu   sync.Mutex
	ids  map[string]HeaderEditsID
}

// ErrHeaderEdits says that there are maxHeaderEdits different ones already.
var ErrHeaderEdits = errors.New("router: too many different changes to header fields")

func (t *headerTable) at(id HeaderEditsID) *headerEdits {
	list := t.list.Load()
	if id == 0 || list == nil || int(id) > len(*list) {
		return nil
	}
	return &(*list)[id-1]
}

// HeaderEdits gives e a number, the same one for the same edits. They are never forgotten, so that a reload of the policy
// does not change what a request began with; their count is bounded. Safe from any goroutine; not for the packet path.
func (c *Core) HeaderEdits(e HeaderEdits) (HeaderEditsID, error) {
	if len(e.Remove) == 0 && len(e.Add) == 0 {
		return 0, nil
	}
	var n headerEdits
	for _, name := range e.Remove {
		id, err := editable(name)
		if err != nil {
			return 0, err
		}
		if id != parser.HeaderOther {
			n.known |= 1 << id
		} else if !slices.Contains(n.names, strings.ToLower(name)) {
			n.names = append(n.names, strings.ToLower(name))
		}
	}
	for _, line := range e.Add {
		name, value, ok := strings.Cut(line, ":")
		if _, err := editable(name); err != nil {
			return 0, err
		}
		if !ok || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return 0, fmt.Errorf("router: %q is no header field", line)
		}
		n.text += line + "\r\n"
	}
	slices.Sort(n.names)
	t := &c.headers
	t.mu.Lock()
	defer t.mu.Unlock()
	key := fmt.Sprintf("%x %q %q", n.known, n.names, n.text)
	if id, ok := t.ids[key]; ok {
		return id, nil
	}
	var list []headerEdits
	if p := t.list.Load(); p != nil {
		list = *p
	}
	if len(list) == maxHeaderEdits {
		return 0, ErrHeaderEdits
	}
	if t.ids == nil {
		t.ids = map[string]HeaderEditsID{}
	}
	list = append(list, n) // what others see of the old array does not change
	t.list.Store(&list)
	t.ids[key] = HeaderEditsID(len(list))
	return HeaderEditsID(len(list)), nil
}

// editable finds the id of a name that may be edited.
func editable(name string) (parser.HeaderID, error) {
	if !parser.IsToken([]byte(name)) {
		return 0, fmt.Errorf("router: %q is no name of a header field", name)
	}
	id := parser.LookupHeader([]byte(name))
	if slices.Contains(ownHeaders, id) {
		return 0, fmt.Errorf("router: the header field %s is not for a policy to change", id)
	}
	return id, nil
}

// editHeaders adds to w.edits what the rule's policy wants of the header fields. The header fields that it removes are none
// that forward edits.
func (w *Worker) editHeaders(m *parser.Message, b []byte, r *rule) {
	for _, id := range r.headers {
		h := w.core.headers.at(id)
		if h == nil {
			continue
		}
		if h.known != 0 || len(h.names) > 0 {
			for i := range m.HeaderCount() {
				if h.removes(m.HeaderAt(i), b) {
					s := m.LineSpan(i)
					w.edits.Cut(int(s.Off), int(s.Len))
				}
			}
		}
		if h.text != "" {
			w.edits.Begin()
			w.edits.Text = append(w.edits.Text, h.text...)
			w.edits.Insert(int(m.HeaderEnd))
		}
	}
}

func (e *headerEdits) removes(h *parser.Header, b []byte) bool {
	if h.ID != parser.HeaderOther {
		return e.known>>h.ID&1 != 0
	}
	for _, name := range e.names {
		if parser.EqualFoldString(h.Name.In(b), name) {
			return true
		}
	}
	return false
}
