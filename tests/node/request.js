// The API as back offices have used it for years: `request-promise` with `json: true`, certificates in
// `agentOptions`, a device's certificate from fs.readFileSync.
//   node request.js PORT CA_FILE API_KEY CERT_FILE KEY_FILE CERTIFICATE_ID
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const request = require('request-promise');

const [port, caFile, key, certFile, keyFile, certificateId] = process.argv.slice(2);
const [ca, cert, own] = [caFile, certFile, keyFile].map((file) => fs.readFileSync(file));
const at = (path) => `https://localhost:${port}${path}`;
const headers = { 'api-key-name': key };
const post = (path, body) => request({ method: 'POST', uri: at(path), ca, headers, body, json: true });

async function main() {
    const report = { voltage: 231.4, at: new Date(0), text: 'Zähler \u{1f50c}' };
    assert.deepStrictEqual(await post('/devicetelemetry/by%20request', report), { success: true });
    const synced = { deviceId: 'synced by request', modelNumber: 'M1', certificateId, certificatePem: cert };
    assert.deepStrictEqual(await post('/syncdevicecert', synced), { success: true });

    const agentOptions = { ca, cert, key: own };
    const mine = (method, path, body) => request({ method, uri: at(path), agentOptions, body, json: true });
    assert.deepStrictEqual(await mine('GET', '/'), { data: 'Hello, world!' });
    assert.deepStrictEqual(await mine('POST', '/devicetelemetry', { mine: true }), { success: true });

    const made = await post('/devicecert', { deviceId: 'issued by request', modelNumber: 'M1' });
    const issued = { ca, cert: made.certificatePem, key: made.keyPair.privateKey };
    const hello = await request({ uri: at('/'), agentOptions: issued, json: true });
    assert.deepStrictEqual(hello, { data: 'Hello, world!' });
    const answer = await post('/caRegister', { csrSubjects: { countryName: 'DE', stateName: null } });
    assert.strictEqual(answer.certificateId, answer.caCertificateId);

    const refused = await post('/syncdevicecert', { ...synced, deviceId: 'another' }).catch((error) => error);
    assert.strictEqual(refused.statusCode, 409);
    assert.deepStrictEqual(Object.keys(refused.error), ['code', 'error', 'message']);
    const nobody = await request({ uri: at('/'), ca, json: true }).catch((error) => error);
    assert.strictEqual(nobody.error.code, 401);
    console.log('all as expected');
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
