package steer

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Attach gives the SO_REUSEPORT group of fd the steering program for that many sockets. It
// needs no privilege.
func Attach(fd, loops int) error {
	err := attach(fd, program(loops, far))
	if err == unix.ENOMEM {
		err = attach(fd, program(loops, near))
	}
	if err != nil {
		return fmt.Errorf("the steering program was refused (SO_ATTACH_REUSEPORT_CBPF): %w", err)
	}
	return nil
}

func attach(fd int, prog []unix.SockFilter) error {
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	runtime.KeepAlive(prog)
	return err
}

// Where the program looks. The offsets are into the UDP payload, 4 bytes at a time.
//
// The branch of the topmost Via names the transaction, so it is the best thing to hash: the
// INVITE with its retransmissions, its CANCEL and the ACK for its failure meet on one loop,
// and a new transaction goes anywhere. It nearly always lies in the first few hundred bytes;
// looking further costs time only where it does not.
const (
	searchFrom = 28 // no shorter start line and Via before the cookie: "ACK sip:a SIP/2.0 Via: SIP/2.0/UDP a;branch="
	searchStep = 32 // one check of the length covers so many bytes

	// branchBytes after the cookie are hashed. Long branches vary early or in between; of
	// short ones the start of the next header is hashed as well, which is the same for all
	// messages that a client sends in a transaction.
	branchBytes = 24

	// Without a cookie (RFC 2543, a Via beyond the reach) everything from here on is hashed, as
	// far as the reach goes. Equal packets still meet.
	wholeFrom = 16
	wholeStep = 16
)

// reach is how far into the packet the two parts of the program look.
type reach struct{ search, whole int }

// A program may take net.core.optmem_max once translated: 128 KiB, but 20 KiB before Linux 6.7,
// which near just meets.
var (
	far  = reach{search: searchFrom + 32*searchStep, whole: wholeFrom + 40*wholeStep}
	near = reach{search: searchFrom + 11*searchStep, whole: wholeFrom + 16*wholeStep}
)

// The cookie of RFC 3261 section 8.1.1.7 is seven bytes, so looking at every fourth offset
// finds exactly one of these parts of it.
var cookie = [4]uint32{
	'z'<<24 | '9'<<16 | 'h'<<8 | 'G',
	'9'<<24 | 'h'<<16 | 'G'<<8 | '4',
	'h'<<24 | 'G'<<16 | '4'<<8 | 'b',
	'G'<<24 | '4'<<16 | 'b'<<8 | 'K',
}

const cookieLen = 7

// multiplier is odd with well mixed bits: the golden ratio of 2^32.
const multiplier = 0x9E3779B1

// byAddress is no socket's number; the kernel then falls back to its hash over the addresses.
const byAddress = 0xffffffff

// program is the steering program in classic BPF. It has no loops and no access to maps. A load
// beyond the packet would end it with socket 0, so the length is checked before.
func program(loops int, r reach) []unix.SockFilter {
	var p assembler

	// Search the cookie.
	for at := searchFrom; at < r.search; at += searchStep {
		p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0)
		p.jump(unix.BPF_JGE, uint32(at+searchStep), 1, 0)
		p.far("whole")
		for k := at; k < at+searchStep; k += 4 {
			p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, uint32(k))
			p.jump(unix.BPF_JEQ, cookie[0], 3, 0)
			p.jump(unix.BPF_JEQ, cookie[1], 2, 0)
			p.jump(unix.BPF_JEQ, cookie[2], 1, 0)
			p.jump(unix.BPF_JEQ, cookie[3], 0, 2)
			p.op(unix.BPF_LDX|unix.BPF_IMM, uint32(k))
			p.far("found")
		}
	}

	p.label("whole")
	p.op(unix.BPF_LDX|unix.BPF_IMM, 0) // X is the hash
	for at := wholeFrom; at < r.whole; at += wholeStep {
		p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0)
		p.jump(unix.BPF_JGE, uint32(at+wholeStep), 1, 0)
		if at == wholeFrom {
			p.far("short")
		} else {
			p.far("end of whole")
		}
		for k := at; k < at+wholeStep; k += 4 {
			p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, uint32(k))
			p.op(unix.BPF_ALU|unix.BPF_XOR|unix.BPF_X, 0)
			p.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, multiplier)
			p.op(unix.BPF_MISC|unix.BPF_TAX, 0)
		}
	}
	p.label("end of whole")
	p.op(unix.BPF_MISC|unix.BPF_TXA, 0)
	p.far("pick")

	// A keep-alive or the like.
	p.label("short")
	p.op(unix.BPF_RET|unix.BPF_K, byAddress)

	// Part A of the cookie was found at offset X. Make X the offset behind the cookie.
	p.label("found")
	p.jump(unix.BPF_JEQ, cookie[0], 0, 2)
	p.op(unix.BPF_LD|unix.BPF_IMM, cookieLen)
	p.far("behind")
	p.jump(unix.BPF_JEQ, cookie[1], 0, 2)
	p.op(unix.BPF_LD|unix.BPF_IMM, cookieLen-1)
	p.far("behind")
	p.jump(unix.BPF_JEQ, cookie[2], 0, 2)
	p.op(unix.BPF_LD|unix.BPF_IMM, cookieLen-2)
	p.far("behind")
	p.op(unix.BPF_LD|unix.BPF_IMM, cookieLen-3)
	p.label("behind")
	p.op(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0)
	p.op(unix.BPF_MISC|unix.BPF_TAX, 0)
	p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0)
	p.op(unix.BPF_ALU|unix.BPF_SUB|unix.BPF_X, 0)
	p.jump(unix.BPF_JGE, branchBytes, 1, 0)
	p.op(unix.BPF_RET|unix.BPF_K, byAddress) // cut off inside the branch: no message
	const offset, hash = 0, 1                // scratch memory
	p.op(unix.BPF_STX, offset)
	p.op(unix.BPF_LD|unix.BPF_IMM, 0)
	p.op(unix.BPF_ST, hash)
	for k := 0; k < branchBytes; k += 4 {
		p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, uint32(k))
		p.op(unix.BPF_LDX|unix.BPF_MEM, hash)
		p.op(unix.BPF_ALU|unix.BPF_XOR|unix.BPF_X, 0)
		p.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, multiplier)
		p.op(unix.BPF_ST, hash)
		p.op(unix.BPF_LDX|unix.BPF_MEM, offset)
	}

	// The last multiplications left the low bits poor and the high ones well mixed, save for
	// the last word; one more round for that, then the high half picks.
	p.label("pick")
	p.op(unix.BPF_MISC|unix.BPF_TAX, 0)
	p.op(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 15)
	p.op(unix.BPF_ALU|unix.BPF_XOR|unix.BPF_X, 0)
	p.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, 0x85EBCA77)
	p.op(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 16)
	p.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, uint32(loops))
	p.op(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 16)
	p.op(unix.BPF_RET|unix.BPF_A, 0)
	return p.done()
}

// assembler collects instructions and resolves the forward jumps that are too far for the
// 8-bit distances of conditional ones.
type assembler struct {
	code   []unix.SockFilter
	labels map[string]int
	fars   map[int]string
}

func (p *assembler) op(code uint16, k uint32) {
	p.code = append(p.code, unix.SockFilter{Code: code, K: k})
}

func (p *assembler) jump(test uint16, k uint32, yes, no uint8) {
	p.code = append(p.code, unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: yes, Jf: no})
}

func (p *assembler) far(label string) {
	if p.fars == nil {
		p.fars = map[int]string{}
	}
	p.fars[len(p.code)] = label
	p.op(unix.BPF_JMP|unix.BPF_JA, 0)
}

func (p *assembler) label(name string) {
	if p.labels == nil {
		p.labels = map[string]int{}
	}
	p.labels[name] = len(p.code)
}

func (p *assembler) done() []unix.SockFilter {
	for at, label := range p.fars {
		to, ok := p.labels[label]
		if !ok || to <= at {
			panic("steer: a jump must lead forward, to a label: " + label)
		}
		p.code[at].K = uint32(to - at - 1)
	}
	return p.code
}
