// Package neighbours tests sipedge against phones and proxies that are not ours: a WebSocket phone on SIP.js, baresip over TLS, a
// Kamailio as registrar behind the edge. They run with the other tests; make deps installs what they need.
package neighbours
