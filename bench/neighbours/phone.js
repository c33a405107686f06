// A phone in a WebSocket, on SIP.js: registers, calls, is called. It writes one line for each thing that happens, and reads
// commands from standard input: "register", "call URI", "hangup", "quit".
//
//	node phone.js ws://127.0.0.1:8080 sip:alice@example.com
import readline from 'node:readline';
import { WebSocket } from 'ws';
import { Inviter, Registerer, RegistererState, SessionState, UserAgent } from 'sip.js';

process.env.NODE_TLS_REJECT_UNAUTHORIZED ??= '1';
globalThis.WebSocket = WebSocket;
const [server, address] = process.argv.slice(2);
const say = (...words) => console.log(words.join(' '));

// Media is nobody's concern here: offers and answers are fixed texts.
const sdp = 'v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n';
const media = () => ({
  close() {},
  getDescription: async () => ({ body: sdp, contentType: 'application/sdp' }),
  hasDescription: (type) => type === 'application/sdp',
  holdModifier: async (d) => d,
  rollbackDescription: async () => {},
  setDescription: async () => {},
  sendDtmf: () => false,
});

let session;
const follow = (s, who) => {
  session = s;
  s.stateChange.addListener((state) => say('session', who, state));
  s.delegate = { onBye: (bye) => { say('bye'); bye.accept(); } };
};

const ua = new UserAgent({
  uri: UserAgent.makeURI(address),
  transportOptions: { server, keepAliveInterval: 1 },
  sessionDescriptionHandlerFactory: media,
  logBuiltinEnabled: false,
  delegate: {
    onInvite(invitation) {
      follow(invitation, 'in');
      say('invite', invitation.remoteIdentity.uri.toString());
      invitation.accept().catch((e) => say('error', e.message));
    },
    onMessage(message) {
      say('message', message.request.body);
      message.accept();
    },
    onConnect: () => say('connected'),
    onDisconnect: (e) => say('disconnected', e ? e.message : ''),
  },
});

const commands = {
  register() {
    const r = new Registerer(ua, { expires: 600 });
    r.stateChange.addListener((s) => { if (s === RegistererState.Registered) say('registered'); });
    r.register({ requestDelegate: { onReject: (r) => say('register', r.message.statusCode) } });
  },
  call(uri) {
    const inviter = new Inviter(ua, UserAgent.makeURI(uri));
    follow(inviter, 'out');
    inviter.invite({ requestDelegate: { onReject: (r) => say('rejected', r.message.statusCode), onProgress: (r) => say('progress', r.message.statusCode) } })
      .catch((e) => say('error', e.message));
  },
  hangup() {
    if (session.state === SessionState.Established) session.bye({ requestDelegate: { onAccept: () => say('hung up') } });
    else if (session instanceof Inviter) session.cancel();
  },
  quit: () => ua.stop().then(() => process.exit(0)),
};
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, argument] = line.split(' ');
  commands[command]?.(argument);
}).on('close', () => process.exit(0));
ua.start().catch((e) => say('error', e.message));
