import koffi from 'koffi';
import { describe, expect, it } from 'vitest';

import { decodeResponseCode, describeResponseCode } from '../../../tpm/device/response-code.ts';

describe('a response code', () => {
  it.each([
    { value: 0x100, text: 'tpm INITIALIZE' },
    { value: 0x101, text: 'tpm FAILURE' },
    { value: 0x143, text: 'tpm COMMAND_CODE' },
    { value: 0x14a, text: 'tpm NV_UNINITIALIZED' },
    { value: 0x902, text: 'tpm OBJECT_MEMORY' },
    { value: 0x908, text: 'tpm YIELDED' },
    { value: 0x90a, text: 'tpm TESTING' },
    { value: 0x910, text: 'tpm REFERENCE_H0' },
    { value: 0x91e, text: 'tpm REFERENCE_S6' },
    { value: 0x921, text: 'tpm LOCKOUT' },
    { value: 0x922, text: 'tpm RETRY' },
    { value: 0x3c3, text: 'tpm HASH (parameter 3)' },
    { value: 0x1df, text: 'tpm INTEGRITY (parameter 1)' },
    { value: 0xfd5, text: 'tpm SIZE (parameter 15)' },
    { value: 0x18b, text: 'tpm HANDLE (handle 1)' },
    { value: 0x98e, text: 'tpm AUTH_FAIL (session 1)' },
    { value: 0x9a2, text: 'tpm BAD_AUTH (session 1)' },
    { value: 0xa9d, text: 'tpm POLICY_FAIL (session 2)' },
    { value: 0x500, text: 'tpm 0x500' },
    { value: 0x01e, text: 'tpm 0x01e' },
    { value: 0x17f, text: 'tpm 0x17f' },
    { value: 0x0bf, text: 'tpm 0x0bf (handle 0)' },
    { value: 0x70007, text: 'esys BAD_SEQUENCE' },
    { value: 0x7001b, text: 'esys RSP_AUTH_FAILED' },
    { value: 0x80010, text: 'sys BAD_SIZE' },
    { value: 0x90006, text: 'mu INSUFFICIENT_BUFFER' },
    { value: 0xa000a, text: 'tcti IO_ERROR' },
    { value: 0xb0902, text: 'resmgr OBJECT_MEMORY' },
    { value: 0xc0922, text: 'resmgr-tpm RETRY' },
    { value: 0xaffff, text: 'tcti 0xffff' },
    { value: 0xff0001, text: 'unknown GENERAL_FAILURE' },
  ])('is taken apart: $text', ({ value, text }) => {
    expect(describeResponseCode(decodeResponseCode(value))).toBe(text);
  });

  it('is about the subject that tpm2-tss names too, for every code of format one', () => {
    const decode = koffi.load('libtss2-rc.so.0').func('Tss2_RC_Decode', 'str', ['uint32_t']);
    let compared = 0;
    for (let value = 0x80; value < 0x1000; value += 1) {
      const { subject } = decodeResponseCode(value);
      // tpm2-tss names parameters up to 7 only; the field has four bits (Part 2 §6.6.2).
      if (subject === undefined || subject.index === 0 || subject.index > 7) continue;
      expect(String(decode(value)).startsWith(`tpm:${subject.kind}(${subject.index})`)).toBe(true);
      compared += 1;
    }
    expect(compared).toBe(7 * 3 * 64);
  });
});
