// Node's http, https, http2, fetch and WebSocket.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';

const { PLAIN, SECURE, CERTIFICATE, KEY } = process.env;
const ca = readFileSync(CERTIFICATE);
const body = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * 7) % 251));
const sum = createHash('sha256').update(body).digest('hex');

const read = async (stream) => {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
};

/** One request of `http` or `https`. */
const request = (module, url, options, pieces = []) =>
  new Promise((resolve, reject) => {
    const sent = module.request(url, options, async (answer) => {
      resolve({ status: answer.statusCode, headers: answer.headers, body: await read(answer), reused: sent.reusedSocket });
    });
    sent.on('error', reject);
    for (const piece of pieces) sent.write(piece);
    sent.end();
  });

for (const [module, base] of [[http, PLAIN], [https, SECURE]]) {
  const agent = new module.Agent({ keepAlive: true, maxSockets: 1, ca });
  let answer = await request(module, `${base}/echo/a?b=c`, { agent });
  assert.equal(answer.status, 200);
  assert.equal(JSON.parse(answer.body).target, '/echo/a?b=c');
  // In chunks, because no length is said.
  answer = await request(module, `${base}/echo/x`, { agent, method: 'POST' }, [body.subarray(0, 7), body.subarray(7)]);
  assert.deepEqual([answer.status, JSON.parse(answer.body).body.sha256, answer.reused], [200, sum, true]);
  answer = await request(module, `${base}/bytes/300000`, { agent });
  assert.deepEqual([answer.status, answer.body.length], [200, 300_000]);
  answer = await request(module, `${base}/admin/echo/x`, { agent });
  assert.deepEqual([answer.status, answer.headers['content-type']], [401, 'application/problem+json']);
  answer = await request(module, `${base}/admin/echo/x`, { agent, headers: { apikey: KEY } });
  assert.equal(answer.status, 200);
  agent.destroy();
}

for (const base of [PLAIN, SECURE]) {
  const session = http2.connect(base, { ca });
  const one = (headers, content) =>
    new Promise((resolve, reject) => {
      const stream = session.request(headers, { endStream: !content });
      let status;
      stream.on('response', (answer) => (status = answer[':status']));
      stream.on('error', reject);
      read(stream).then((got) => resolve({ status, body: got }), reject);
      if (content) stream.end(content);
    });
  const many = await Promise.all(Array.from({ length: 30 }, (_, at) => one({ ':path': `/echo/${at}` })));
  many.forEach((answer, at) => assert.deepEqual([answer.status, JSON.parse(answer.body).target], [200, `/echo/${at}`]));
  const answer = await one({ ':method': 'POST', ':path': '/echo/x' }, body);
  assert.deepEqual([answer.status, JSON.parse(answer.body).body.sha256], [200, sum]);
  assert.equal((await one({ ':path': '/admin/echo/x' })).status, 401);
  assert.equal((await one({ ':path': '/bytes/300000' })).body.length, 300_000);
  session.close();
}

for (const base of [PLAIN, SECURE]) {
  let answer = await fetch(`${base}/echo/x`, { method: 'POST', body });
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).body.sha256, sum);
  const stream = new Blob([body]).stream();
  answer = await fetch(`${base}/echo/x`, { method: 'POST', body: stream, duplex: 'half' });
  assert.equal((await answer.json()).body.sha256, sum);
  answer = await fetch(`${base}/admin/echo/x`);
  assert.equal(answer.status, 401);
  assert.equal((await answer.json()).status, 401);
  answer = await fetch(`${base}/gzip`);
  assert.equal(answer.headers.get('content-encoding'), 'gzip');
  await answer.json();
}

let sockets = ', no WebSocket in this version';
if (globalThis.WebSocket) {
  sockets = ', WebSocket';
  for (const base of [PLAIN, SECURE]) {
    const socket = new WebSocket(`${base.replace('http', 'ws')}/ws`);
    socket.binaryType = 'arraybuffer';
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    for (const message of ['text', body.subarray(0, 60_000)]) {
      const back = new Promise((resolve) => (socket.onmessage = (event) => resolve(event.data)));
      socket.send(message);
      const got = await back;
      assert.deepEqual(typeof got === 'string' ? got : Buffer.from(got), message);
    }
    const closed = new Promise((resolve) => (socket.onclose = (event) => resolve(event.wasClean)));
    socket.close();
    assert.equal(await closed, true);
  }
}
console.log(`Node ${process.version}: http, https, http2, fetch${sockets}`);
