import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { openShared } from '../../../tpm/device/library.ts';
import type { TpmError } from '../../../tpm/device/tpm-error.ts';
import { Tpm } from '../../../tpm/device/tpm.ts';
import { ESYS_TR, StructureOut, Tss } from '../../../tpm/device/tss.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { startSwtpm } from '../../support/swtpm.ts';

const run = promisify(execFile);
const SELECTION = [{ hash: TPM_ALG_SHA256, pcrs: [0, 1, 2] }];

describe('opening a TPM', () => {
  it.each([
    { tcti: '', code: 'INVALID_TCTI' },
    { tcti: 'libtss2-tcti-device.so.0', code: 'INVALID_TCTI' },
    { tcti: 'nosuchtcti:x', code: 'LIBRARY_MISSING' },
    { tcti: './libevil.so:', code: 'INVALID_TCTI' },
    { tcti: `swtpm:path=/tmp/a\0b`, code: 'INVALID_TCTI' },
    { tcti: `swtpm:path=/${'a'.repeat(512)}`, code: 'INVALID_TCTI' },
    { tcti: 'swtpm:path=/nonexistent/socket', code: 'UNREACHABLE' },
    { tcti: 'swtpm:nonsense', code: 'UNREACHABLE' },
    { tcti: 'mssim:host=127.0.0.1,port=1', code: 'UNREACHABLE' },
    { tcti: 'device:/nonexistent/tpm', code: 'UNREACHABLE' },
    { tcti: 'device:/dev/null', code: 'UNREACHABLE' },
  ])('is refused with $code for "$tcti"', async ({ tcti, code }) => {
    await expect(Tpm.open({ tcti }).then((tpm) => tpm.properties())).rejects.toMatchObject({ name: 'TpmError', code });
  });

  it('says which device it could not open, and why', async () => {
    await expect(Tpm.open({ tcti: 'device:/nonexistent/tpm' })).rejects.toMatchObject({
      message: 'the TPM device /nonexistent/tpm cannot be opened for reading and writing',
      cause: { code: 'ENOENT' },
    });
  });

  it('names the Debian package of a library that is missing', () => {
    expect(() => openShared('libtss2-tcti-none.so.0', 'libtss2-tcti-none0')).toThrow(
      expect.objectContaining({ code: 'LIBRARY_MISSING', debianPackage: 'libtss2-tcti-none0' }),
    );
  });
});

describe('a connection', () => {
  it('that breaks ends in UNREACHABLE, for operations that wait too, and closes', async () => {
    await using swtpm = await startSwtpm();
    await using tpm = await Tpm.open({ tcti: swtpm.tcti });
    const [ek] = await tpm.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');
    const ak = await tpm.loadAk(ek, await tpm.createAk(ek));

    await swtpm.kill();

    const outcomes = await Promise.allSettled([
      tpm.quote(ak, { qualifyingData: randomBytes(32), selection: SELECTION }),
      tpm.pcrRead(SELECTION),
      tpm.createAk(ek),
      ak.flush(),
    ]);
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && (outcome.reason as TpmError).code)).toEqual(
      outcomes.map(() => 'UNREACHABLE'),
    );
    await tpm.close();
  });

  it('that breaks in the middle of an operation ends in UNREACHABLE', async () => {
    await using swtpm = await startSwtpm();
    await using tpm = await Tpm.open({ tcti: swtpm.tcti });
    const [ek] = await tpm.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');

    const keys = Array.from({ length: 20 }, () => tpm.createAk(ek, { algorithm: 'rsassa-2048-sha256' }));
    const settled = Promise.allSettled(keys);
    await keys[0];
    await swtpm.kill();

    const codes = (await settled).flatMap((key) => (key.status === 'rejected' ? [(key.reason as TpmError).code] : []));
    expect(codes.length).toBeGreaterThan(0);
    expect(new Set(codes)).toEqual(new Set(['UNREACHABLE']));
  });

  it('can be made anew after a reboot, which is counted, and keys load again', async () => {
    await using swtpm = await startSwtpm();
    const before = await Tpm.open({ tcti: swtpm.tcti });
    const [ek] = await before.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');
    const created = await before.createAk(ek);
    const { resetCount } = await before.clock();
    await before.close();

    await swtpm.restart();

    await using after = await Tpm.open({ tcti: swtpm.tcti });
    expect((await after.clock()).resetCount).toBe(resetCount + 1);
    const ak = await after.loadAk(ek, created);
    expect(ak.publicArea.raw).toEqual(created.publicArea);
  });

  it('is closed once, unloads what was left, and refuses to go on', async () => {
    await using swtpm = await startSwtpm();
    const tpm = await Tpm.open({ tcti: swtpm.tcti });
    const [ek] = await tpm.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');
    const ak = await tpm.loadAk(ek, await tpm.createAk(ek));

    const last = tpm.clock();
    await Promise.all([tpm.close(), tpm.close()]);

    expect((await last).safe).toBe(true);
    await expect(tpm.clock()).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(ak.flush()).resolves.toBeUndefined();
    // Two slots would be left if the key still had one; an RSA parent and two keys need three.
    await using again = await Tpm.open({ tcti: swtpm.tcti });
    const created = await again.createAk(ek);
    await again.loadAk(ek, created);
    await again.loadAk(ek, created);
  });

  it('refuses a key that another connection loaded, and one that was flushed', async () => {
    await using swtpm = await startSwtpm();
    await using one = await Tpm.open({ tcti: swtpm.tcti });
    await using other = await Tpm.open({ tcti: swtpm.tcti });
    const [ek] = await one.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');
    const ak = await one.loadAk(ek, await one.createAk(ek));
    const request = { qualifyingData: randomBytes(8), selection: SELECTION };

    await expect(other.quote(ak, request)).rejects.toMatchObject({ code: 'CLOSED' });
    await ak.flush();
    await ak.flush();
    await expect(one.quote(ak, request)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('takes commands only one at a time', async () => {
    await using swtpm = await startSwtpm({ ekCertificates: false });
    const tss = await Tss.open(swtpm.tcti);
    const { NONE } = ESYS_TR;
    const read = (): Promise<void> => tss.call('Esys_ReadClock', NONE, NONE, NONE, new StructureOut('TPMS_TIME_INFO'));
    const first = read();

    await expect(read()).rejects.toThrow(TypeError);
    await first;
    await tss.close();
  });
});

describe('a hierarchy with an authorisation value', () => {
  it('is named by the error: endorsement', async () => {
    await using swtpm = await startSwtpm();
    await run('tpm2_changeauth', ['-c', 'e', 'secret'], { env: { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti } });
    await using tpm = await Tpm.open({ tcti: swtpm.tcti });
    const [lowRange, highRange] = await tpm.endorsementKeys();
    if (lowRange === undefined || highRange === undefined) throw new Error('two endorsement keys were expected');

    await expect(tpm.createAk(lowRange)).rejects.toMatchObject({
      code: 'HIERARCHY_AUTH',
      operation: 'Esys_PolicySecret',
      message: expect.stringContaining('endorsement'),
    });
    const ak = await tpm.loadAk(highRange, await tpm.createAk(highRange));
    await expect(tpm.proveBanks(ak, randomBytes(8))).rejects.toMatchObject({ code: 'HIERARCHY_AUTH' });
  });

  it('is named where keys must be made from templates', async () => {
    await using swtpm = await startSwtpm({ ekCertificates: false });
    await run('tpm2_changeauth', ['-c', 'e', 'secret'], { env: { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti } });
    await using tpm = await Tpm.open({ tcti: swtpm.tcti });

    await expect(tpm.endorsementKeys()).rejects.toMatchObject({ code: 'HIERARCHY_AUTH' });
  });
});

describe('the software TPM of these tests', () => {
  it('leaves nothing behind', async () => {
    const swtpm = await startSwtpm({ ekCertificates: false });
    expect(existsSync(join(swtpm.directory, 'state'))).toBe(true);
    expect(swtpm.caCertificates).toEqual([]);

    await swtpm.stop();

    expect(existsSync(swtpm.directory)).toBe(false);
  });
});
