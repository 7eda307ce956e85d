// An authorization server for the tests: `oidc-provider` at an address of the system's choice. It says on its first line
// where it is, and ends with its standard input. POST /test/rotate gives it a new key in the place of all others.
// What it is told comes in the environment: TLS_CERT and TLS_KEY (then it speaks TLS and asks for client certificates),
// GATEWAY_JWKS and GATEWAY_TLS_JWKS (public keys of clients).
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import Provider from 'oidc-provider';

const { TLS_CERT, TLS_KEY, GATEWAY_JWKS, GATEWAY_TLS_JWKS } = process.env;

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'ES256', use: 'sig' };
}

// Neither logs in nor redirects anybody.
const machine = {
  redirect_uris: [], response_types: [], grant_types: ['client_credentials'], id_token_signed_response_alg: 'ES256',
};
const asking = { ...machine, grant_types: [] };
const clients = [
  { ...machine, client_id: 'app', client_secret: 'app-secret', token_endpoint_auth_method: 'client_secret_post', scope: 'orders:read orders:write' },
  { ...asking, client_id: 'gateway', client_secret: 'a:b%c&d/+e-of-the-gateway' },
  { ...asking, client_id: 'gateway-post', client_secret: 'secret-of-the-gateway', token_endpoint_auth_method: 'client_secret_post' },
];
if (GATEWAY_JWKS) {
  const method = { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256' };
  clients.push({ ...asking, client_id: 'gateway-key', jwks: JSON.parse(GATEWAY_JWKS), ...method });
}
if (GATEWAY_TLS_JWKS) {
  const method = { token_endpoint_auth_method: 'self_signed_tls_client_auth' };
  clients.push({ ...asking, client_id: 'gateway-tls', jwks: JSON.parse(GATEWAY_TLS_JWKS), ...method });
  clients.push({ ...clients[0], client_id: 'bound', tls_client_certificate_bound_access_tokens: true });
}

function provider(issuer) {
  const found = new Provider(issuer, {
    clients,
    jwks: { keys: [signingKey()] },
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(TLS_CERT ? ['self_signed_tls_client_auth'] : []),
    ],
    scopes: ['orders:read', 'orders:write'],
    ttl: { ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      mTLS: {
        enabled: Boolean(TLS_CERT),
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString(),
      },
      resourceIndicators: {
        enabled: true,
        // `urn:jwt:AUDIENCE` for signed tokens, `urn:opaque:AUDIENCE` for others.
        getResourceServerInfo(ctx, resource) {
          const [, format, audience, ttl] = resource.split(':');
          return {
            scope: 'orders:read orders:write',
            audience,
            accessTokenTTL: Number(ttl ?? 600),
            accessTokenFormat: format,
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
    },
  });
  found.on('server_error', (ctx, error) => console.error(error));
  return found;
}

let callback;
const answer = (request, response) => {
  if (request.method === 'POST' && request.url === '/test/rotate') {
    callback = provider(issuer).callback();
    response.writeHead(204).end();
    return;
  }
  callback(request, response);
};
const server = TLS_CERT
  ? https.createServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY), requestCert: true, rejectUnauthorized: false }, answer)
  : http.createServer(answer);
let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `${TLS_CERT ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  callback = provider(issuer).callback();
  console.log(issuer);
});
process.stdin.on('end', () => process.exit(0)).resume();
