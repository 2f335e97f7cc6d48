// The API as a Node back office uses it: plain `https` with keep-alive, JSON as `request-promise`
// with `json: true` sends it, certificates as Buffers straight from fs.readFileSync.
//   node api.js PORT CA_FILE API_KEY CERT_FILE KEY_FILE CERTIFICATE_ID
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const https = require('node:https');

const [port, caFile, key, certFile, keyFile, certificateId] = process.argv.slice(2);
const ca = fs.readFileSync(caFile);
const agent = new https.Agent({ keepAlive: true, ca });

/** Resolves with the parsed body of a 2xx answer; rejects, as request-promise does, with any other. */
function request(method, path, { json, headers = {}, ...options } = {}) {
    return new Promise((resolve, reject) => {
        const body = json === undefined ? undefined : JSON.stringify(json);
        const all = { accept: 'application/json', ...headers };
        if (body !== undefined) {
            all['content-type'] = 'application/json';
            all['content-length'] = Buffer.byteLength(body);
        }
        const call = https.request({ host: 'localhost', port, method, path, agent, headers: all, ...options }, (answer) => {
            const chunks = [];
            answer.on('data', (chunk) => chunks.push(chunk));
            answer.on('end', () => {
                const parsed = JSON.parse(Buffer.concat(chunks).toString('utf8'));
                if (answer.statusCode >= 200 && answer.statusCode < 300) return resolve(parsed);
                reject(Object.assign(new Error(parsed.message), { statusCode: answer.statusCode, error: parsed }));
            });
        });
        call.on('error', reject);
        call.end(body);
    });
}

const post = (path, json) => request('POST', path, { json, headers: { 'api-key-name': key } });

async function main() {
    const report = { voltage: 231.4, when: new Date(0), text: 'Zähler \u{1f50c}' };
    assert.deepStrictEqual(await post('/devicetelemetry/' + encodeURIComponent('by node'), report), { success: true });
    const forwarded = { deviceId: 'by node', createdAt: Math.floor(Date.now() / 1000), data: report };
    assert.deepStrictEqual(await post('/forwardtelemetry', forwarded), { success: true });
    assert.deepStrictEqual(await post('/forwardstatus', forwarded), { success: true });

    // A Buffer becomes {"type":"Buffer","data":[…]} in JSON.
    const synced = {
        deviceId: 'synced by node',
        modelNumber: 'M1',
        certificateId,
        certificatePem: fs.readFileSync(certFile),
        keyPair: { privateKey: fs.readFileSync(keyFile) },
    };
    assert.deepStrictEqual(await post('/syncdevicecert', synced), { success: true });
    assert.deepStrictEqual(await post('/syncdevicecert', synced), { success: true });
    await assert.rejects(post('/syncdevicecert', { ...synced, deviceId: 'other' }), { statusCode: 409 });

    const own = new https.Agent({ ca, cert: fs.readFileSync(certFile), key: fs.readFileSync(keyFile) });
    assert.deepStrictEqual(await request('GET', '/', { agent: own }), { data: 'Hello, world!' });
    assert.deepStrictEqual(await request('POST', '/devicetelemetry', { agent: own, json: {} }), { success: true });
    await assert.rejects(request('POST', '/devicetelemetry/other', { agent: own, json: {} }), { statusCode: 401 });

    const issued = await post('/devicecert', { deviceId: 'issued to node', modelNumber: 'M1' });
    const device = new https.Agent({ ca, cert: issued.certificatePem, key: issued.keyPair.privateKey });
    assert.deepStrictEqual(await request('GET', '/', { agent: device }), { data: 'Hello, world!' });

    const refused = await post('/devicetelemetry/x', [1]).catch((error) => error);
    assert.deepStrictEqual(refused.error, {
        code: 400,
        error: 'Bad Request',
        message: 'the body must be a JSON object (line 1, column 1)',
    });
    await assert.rejects(request('GET', '/'), { statusCode: 401 });
    // A body that is too long is answered, not cut off, while it is being sent.
    await assert.rejects(post('/devicetelemetry/x', { long: 'x'.repeat(10_000_000) }), { statusCode: 413 });
    for (const each of [agent, own, device]) each.destroy();
    console.log('all as expected');
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
