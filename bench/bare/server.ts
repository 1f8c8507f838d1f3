/**
 * The floor under streams: grpc-js with TLS 1.3 and client certificates, raw bytes, no service behind it. `Hold` answers each
 * message and stays open; `Round` answers each with what a round of attestation sends, a result and later a challenge; `Flow` sends as fast as its callers take, when told to over IPC.
 */
import { readFileSync } from 'node:fs';

import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';

const [keyFile = '', certificateFile = '', authorityFile = '', size = '0'] = process.argv.slice(2);
const key = readFileSync(keyFile);
const certificate = readFileSync(certificateFile);
const authority = readFileSync(authorityFile);
const message = Buffer.alloc(Number(size), 0x61);
/** As long as a challenge, and not in one write with the result before it. */
const challenge = Buffer.alloc(110, 0x62);
const CHALLENGE_LATER = 300;
const flows = new Set<ServerDuplexStream<Buffer, Buffer>>();

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string) => ({
  path: `/bare.Bare/${name}`,
  requestStream: true,
  responseStream: true,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const server = new Server({ 'grpc.enable_channelz': 0 });
server.addService(
  { hold: method('Hold'), round: method('Round'), flow: method('Flow') },
  {
    hold: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', () => call.write(message));
    },
    round: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', () => {
        call.write(message);
        setTimeout(() => call.write(challenge), CHALLENGE_LATER);
      });
    },
    flow: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.once('data', () => call.write(message));
      flows.add(call);
      call.on('cancelled', () => flows.delete(call));
    },
  },
);
const credentials = ServerCredentials.createSsl(authority, [{ private_key: key, cert_chain: certificate }], true);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error !== null) throw error;
  console.log(`port ${port}`);
});

/** So many messages to every stream, one round after another, each at its caller's pace. */
async function flow(rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const slow = [...flows].filter((call) => !call.write(message));
    await Promise.all(slow.map((call) => new Promise((resolve) => call.once('drain', resolve))));
    if (round % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
}

process.on('message', (rounds: unknown) => {
  void flow(Number(rounds)).then(() => process.send?.('done'));
});
