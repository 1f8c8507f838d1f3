/** The disk of the guest: files that are signed in every way, by the tools that administrators use. */
import { execFile } from 'node:child_process';
import { sign } from 'node:crypto';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const TYPE_VERITY = 6;
const VERSION_3 = 3;
const HASH_SHA256 = 4;

const script = (name: string): string => `#!/bin/sh\n# ${name}\n`;

/**
 * Path of an ext4 image. Needs root, for only root writes `security.*`; and a file system that keeps these attributes.
 * @param keys folder that `make-keys.sh` filled
 */
export async function makeSignedFiles(directory: string, keys: string): Promise<string> {
  const files = join(directory, 'files');
  await mkdir(files, { recursive: true });
  const put = async (name: string): Promise<string> => {
    const path = join(files, name);
    await writeFile(path, script(name), { mode: 0o755 });
    return path;
  };
  const key = (name: string): string => join(keys, `${name}.key`);
  for (const name of ['unsigned.sh', 'read-and-written', 'written-and-read', 'verity']) await put(name);
  for (const signer of ['signer-rsa', 'signer-p256', 'signer-p384']) {
    await run('evmctl', ['ima_sign', '--hashalgo', 'sha256', '--key', key(signer), await put(`${signer}.sh`)]);
  }
  const evm = ['sign', '--portable', '--hashalgo', 'sha256', '--key', key('signer-rsa')];
  await run('evmctl', [...evm, '--imahash', await put('evm-hash.sh')]);
  await run('evmctl', [...evm, '--imasig', await put('evm-signature.sh')]);
  const changed = await put('changed.sh');
  await run('evmctl', ['ima_sign', '--hashalgo', 'sha256', '--key', key('signer-rsa'), changed]);
  await writeFile(changed, `${script('changed.sh')}# and more\n`);
  await signVerity(await put('verity-signed'), keys);
  // The policies know verity files by their owner.
  for (const name of ['verity', 'verity-signed']) await chown(join(files, name), 1000, 1000);
  const image = join(directory, 'disk.img');
  const options = ['-E', 'root_owner=0:0', '-O', 'verity,^has_journal', '-b', '4096', '-U', 'clear'];
  await run('mke2fs', ['-q', '-t', 'ext4', ...options, '-d', files, image, '2M'], {
    env: { ...process.env, E2FSPROGS_FAKE_TIME: '1767225600' },
  });
  return image;
}

/** A signature of version 3 (kernel security/integrity/integrity.h, struct ima_file_id): the tool of this age makes none. */
async function signVerity(path: string, keys: string): Promise<void> {
  const { stdout } = await run('fsverity', ['digest', '--compact', '--hash-alg=sha256', path]);
  const digest = Buffer.from(stdout.trim(), 'hex');
  const signature = sign(
    'sha256',
    Buffer.concat([Buffer.from([TYPE_VERITY, HASH_SHA256]), digest]),
    await readFile(join(keys, 'signer-rsa.key')),
  );
  const { stdout: bare } = await run('openssl', [
    'x509',
    '-in',
    join(keys, 'signer-rsa.pem'),
    '-noout',
    '-ext',
    'subjectKeyIdentifier',
  ]);
  const keyId = Buffer.from(
    (/(?:[0-9A-F]{2}:){19}[0-9A-F]{2}/.exec(bare)?.[0] ?? '').replaceAll(':', ''),
    'hex',
  ).subarray(-4);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(signature.length);
  const value = Buffer.concat([Buffer.from([TYPE_VERITY, VERSION_3, HASH_SHA256]), keyId, size, signature]);
  await run('setfattr', ['-n', 'security.ima', '-v', `0x${value.toString('hex')}`, path]);
}
