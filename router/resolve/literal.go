package resolve

// parseLiteral reads a numeric host: an IPv4 address, or an IPv6 address with or without brackets, into 16 bytes, IPv4 in
// its IPv4-mapped form. It makes no string, unlike package netip.
func parseLiteral(s []byte) (ip [16]byte, family Reach, ok bool) {
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		ip, ok = parse6(s[1 : n-1])
		return ip, family6, ok
	}
	if v4, ok := parse4(s); ok {
		return mapped(v4), family4, true
	}
	for _, c := range s {
		if c == ':' {
			ip, ok = parse6(s)
			return ip, family6, ok
		}
	}
	return ip, 0, false
}

func mapped(v4 [4]byte) (ip [16]byte) {
	ip[10], ip[11] = 0xff, 0xff
	copy(ip[12:], v4[:])
	return ip
}

// parse4 reads four decimal numbers. Leading zeros are refused: some read them as octal.
func parse4(s []byte) (ip [4]byte, ok bool) {
	n, digits, value := 0, 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && '0' <= s[i] && s[i] <= '9' {
			value = value*10 + int(s[i]-'0')
			digits++
			if value > 255 || digits > 1 && value < 10 {
				return ip, false
			}
			continue
		}
		if digits == 0 || n == 4 || i < len(s) && s[i] != '.' {
			return ip, false
		}
		ip[n] = byte(value)
		n++
		digits, value = 0, 0
	}
	return ip, n == 4
}

// parse6 reads hexadecimal groups, at most one "::", and possibly an IPv4 tail (RFC 3261 section 25.1, IPv6address).
func parse6(s []byte) (ip [16]byte, ok bool) {
	n, gap := 0, -1 // bytes written; where "::" stands
	if len(s) >= 2 && s[0] == ':' && s[1] == ':' {
		gap = 0
		s = s[2:]
	}
	for len(s) > 0 {
		if n == 16 {
			return ip, false
		}
		end := 0
		for end < len(s) && s[end] != ':' {
			end++
		}
		group := s[:end]
		if end == len(s) && end > 4 {
			v4, ok := parse4(group)
			if !ok || n > 12 {
				return ip, false
			}
			n += copy(ip[n:], v4[:])
			break
		}
		if end == 0 || end > 4 {
			return ip, false
		}
		var value uint16
		for _, c := range group {
			d := hexDigit(c)
			if d > 15 {
				return ip, false
			}
			value = value<<4 | uint16(d)
		}
		ip[n], ip[n+1] = byte(value>>8), byte(value)
		n += 2
		s = s[end:]
		if len(s) == 0 {
			break
		}
		s = s[1:]
		if len(s) == 0 {
			return ip, false // a single colon at the end
		}
		if s[0] == ':' {
			if gap >= 0 {
				return ip, false
			}
			gap = n
			s = s[1:]
		}
	}
	if gap < 0 {
		return ip, n == 16
	}
	if n > 14 {
		return ip, false
	}
	tail := n - gap
	copy(ip[16-tail:], ip[gap:n])
	clear(ip[gap : 16-tail])
	return ip, true
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
