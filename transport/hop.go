package transport

// Hop is where a request goes next, as RFC 3263 finds it: address, port and transport protocol. It holds no pointers,
// so that it can live in slabs.
type Hop struct {
	Addr
	// Name is for TLS and WSS: the number (see Names) of the domain that the certificate of the peer must prove
	// (RFC 5922 section 7.1); 0: the address itself.
	Name  uint32
	Proto Protocol
	// Loop, Conn and Gen name a connection that is there already, as in a Flow; with Gen 0 there is none, and
	// one is found or made by Addr, Proto and Name.
	Loop      uint8
	Conn, Gen uint32
}

// HopOf is the way back along f.
func HopOf(f *Flow) Hop {
	return Hop{Addr: f.Remote, Proto: f.Proto, Loop: f.Loop, Conn: f.Conn, Gen: f.Gen}
}
