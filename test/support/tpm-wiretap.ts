import { rm } from 'node:fs/promises';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';

import type { Swtpm } from './swtpm.ts';

/** Bytes of a command's or response's header: tag, size, code (Part 3 §5.2). */
const HEADER_SIZE = 10;
const RESPONSE_WITHOUT_PARAMETERS = Buffer.from('80010000000a', 'hex');

/** What sits on the wire between a caller and a TPM; both may look, answer and alter as they like. */
export interface Wiretap {
  /** Answers in place of the TPM, or lets the command through (undefined). */
  answer?(command: Buffer): Buffer | undefined;
  /** Sees every exchange with the TPM and may put another response in its place. */
  alter?(command: Buffer, response: Buffer): Buffer;
}

export interface TappedTpm extends AsyncDisposable {
  readonly tcti: string;
}

/** The command code of a command. */
export function commandCode(command: Buffer): number {
  return command.readUInt32BE(6);
}

/** A response that has nothing but this code. */
export function bareResponse(code: number): Buffer {
  const response = Buffer.alloc(HEADER_SIZE);
  RESPONSE_WITHOUT_PARAMETERS.copy(response);
  response.writeUInt32BE(code, 6);
  return response;
}

/** Puts a wiretap before a software TPM. */
export async function tapTpm(swtpm: Swtpm, tap: Wiretap): Promise<TappedTpm> {
  const target = join(swtpm.directory, 'socket');
  const path = join(swtpm.directory, 'tapped');
  const servers = [
    await listen(path, (client) => relayCommands(client, target, tap)),
    await listen(`${path}.ctrl`, (client) => pipeBoth(client, connect(`${target}.ctrl`))),
  ];
  return {
    tcti: `swtpm:path=${path}`,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.close();
      await Promise.all([rm(path, { force: true }), rm(`${path}.ctrl`, { force: true })]);
    },
  };
}

async function listen(path: string, serve: (client: Socket) => void): Promise<Server> {
  const server = createServer(serve);
  server.listen(path);
  await once(server, 'listening');
  return server;
}

function pipeBoth(client: Socket, target: Socket): void {
  for (const socket of [client, target]) socket.on('error', () => socket.destroy());
  client.pipe(target).pipe(client);
}

/** The TPM serves one connection at a time, so one is made only for a command that goes through to it. */
function relayCommands(client: Socket, targetPath: string, tap: Wiretap): void {
  let target: Socket | undefined;
  client.on('error', () => client.destroy());
  client.on('close', () => target?.destroy());
  onFrames(client, (command) => {
    const answer = tap.answer?.(command);
    if (answer !== undefined) {
      client.write(answer);
      return;
    }
    target?.destroy();
    target = connect(targetPath);
    target.on('error', () => client.destroy());
    onFrames(target, (response) => client.write(tap.alter?.(command, response) ?? response));
    target.write(command);
  });
}

function onFrames(socket: Socket, take: (frame: Buffer) => void): void {
  let received: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= HEADER_SIZE && received.length >= received.readUInt32BE(2)) {
      const size = received.readUInt32BE(2);
      take(received.subarray(0, size));
      received = received.subarray(size);
    }
  });
}
