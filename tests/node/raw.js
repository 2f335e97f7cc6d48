// Goes through tunnels byte by byte, with Node's own TLS; what listens at TARGET is the caller's.
//   node raw.js WHAT PROXY TARGET COUNT CA CERT KEY [CIPHER]
// WHAT is `echo` (bytes that only this tunnel sends, in pieces of many sizes, must come back the same, COUNT tunnels at
// once), `asks` (says something, ends, and prints what it hears) or `hears` (listens to the end, then says something).
// With CIPHER it speaks TLS 1.2 with that alone, and hears everything before it ends: a static RSA one makes a hello
// without groups, which s2n-tls serves, and that ends both ways at once.
const crypto = require('node:crypto');
const fs = require('node:fs');
const tls = require('node:tls');

const [what, proxy, target, count, ca, cert, key, ciphers] = process.argv.slice(2);
const KIB = Number(process.env.KIB || 64);
const [host, port] = proxy.split(':');
const old = ciphers && { ciphers, maxVersion: 'TLSv1.2' };
const files = { ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const options = { host, port, ...files, servername: 'localhost', allowHalfOpen: true, ...old };
const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';

// A tunnel; what is to be said first goes with the request, before its answer.
function open(first, hear, end) {
  return new Promise((done, failed) => {
    let head = Buffer.alloc(0);
    const socket = tls.connect(options, () => {
      socket.write(Buffer.concat([Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`), first]));
    });
    socket.on('data', (bytes) => {
      if (head === null) return hear(bytes);
      head = Buffer.concat([head, bytes]);
      if (head.length < ESTABLISHED.length) return;
      if (head.subarray(0, ESTABLISHED.length).toString() !== ESTABLISHED) return failed(new Error(head.toString()));
      const rest = head.subarray(ESTABLISHED.length);
      head = null;
      done(socket);
      if (rest.length > 0) hear(rest);
    });
    socket.on('end', () => (head === null ? end(socket) : failed(new Error(`no tunnel: ${head}`))));
    socket.on('error', failed);
  });
}

// Writes piece after piece, waiting while the tunnel takes no more.
async function say(socket, bytes) {
  for (let at = 0; at < bytes.length;) {
    const length = 1 + crypto.randomInt(16000);
    if (!socket.write(bytes.subarray(at, at + length))) await new Promise((drained) => socket.once('drain', drained));
    at += length;
  }
}

const sha = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

async function echo() {
  const bytes = crypto.randomBytes(KIB * 1024);
  const heard = [];
  let [left, ended, back] = [bytes.length];
  const end = new Promise((done) => (ended = done));
  const all = new Promise((done) => (back = done));
  const hear = (more) => {
    heard.push(more);
    left -= more.length;
    if (left <= 0) back();
  };
  const socket = await open(bytes.subarray(0, 100), hear, ended);
  await say(socket, bytes.subarray(100));
  if (old) await all;
  socket.end();
  await end;
  if (sha(Buffer.concat(heard)) !== sha(bytes)) throw new Error('other bytes came back');
}

async function asks() {
  const socket = await open(Buffer.from('question'), (bytes) => process.stdout.write(bytes), () => {});
  socket.end();
  await new Promise((done) => socket.on('close', done));
}

async function hears() {
  await open(Buffer.alloc(0), (bytes) => process.stdout.write(bytes), (socket) => socket.end('a late word'));
}

Promise.all(Array.from({ length: Number(count) }, { echo, asks, hears }[what])).then(
  () => what === 'echo' && console.log(`${count} echoes are the same`),
  (error) => {
    console.error(`${error}`);
    process.exit(1);
  },
);
