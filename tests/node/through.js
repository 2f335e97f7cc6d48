// Fetches the API's description many times at once, each through a tunnel of its own, and compares.
//   node through.js PACKAGE PROXY TARGET COUNT CA CERT KEY [CIPHER]
// With CIPHER the proxy is spoken to in TLS 1.2 with that alone.
const fs = require('node:fs');
const https = require('node:https');

const [name, proxy, target, count, ca, cert, key, ciphers] = process.argv.slice(2);
const files = { ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const outer = { ...files, servername: 'localhost', ...(ciphers && { ciphers, maxVersion: 'TLSv1.2' }) };
const place = (text) => ({ host: text.split(':')[0], port: Number(text.split(':')[1]) });

function agent() {
  if (name === 'tunnel') {
    return require('tunnel').httpsOverHttps({ ca: files.ca, proxy: { ...place(proxy), ...outer } });
  }
  const { HttpsProxyAgent } = require('https-proxy-agent');
  return new HttpsProxyAgent(`https://${proxy}`, outer);
}

// The certificate is for localhost, whatever address is connected to: one of the packages takes the name to
// verify from Host, the other from servername. The gateway's own certificate is not shown to the target.
const headers = { host: 'localhost' };
const options = { ...place(target), path: '/openapi.json', headers, ca: files.ca, servername: 'localhost' };

function fetch() {
  return new Promise((done, failed) => {
    const request = https.get({ ...options, agent: agent() }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text) => (body += text));
      response.on('end', () => (response.statusCode === 200 ? done(body) : failed(new Error(body))));
    });
    request.on('error', failed);
  });
}

Promise.all(Array.from({ length: Number(count) }, fetch)).then(
  (bodies) => {
    const same = bodies.filter((body) => body === bodies[0] && JSON.parse(body).openapi).length;
    console.log(`${same} of ${count} answers are the same`);
    process.exit(same === Number(count) ? 0 : 1);
  },
  (error) => {
    console.error(`${error}`);
    process.exit(1);
  },
);
