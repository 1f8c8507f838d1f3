import { describe, expect, it } from 'vitest';

import { compileExpression, expressionProblem } from '../../../server/policy/compile-expression.ts';

const PCR = 'pcrs.sha256[7] == "00"';

describe('an expression that is refused when it is applied', () => {
  it.each([
    ['nothing', '', 'line 1, column 1: unexpected token'],
    ['half of one', 'tpm.reset_count >', 'line 1, column 18: unexpected token'],
    ['a character of no language', 'tpm.reset_count = 3', 'line 1, column 17: unexpected character'],
    ['an unknown root', 'claimed.hostname == "a"', 'line 1, column 1: unknown variable: claimed'],
    ['an unknown field', 'boot.secure_boot.state == "on"', 'line 1, column 18: no such key: state'],
    ['an unknown field on a later line', `${PCR} &&\n  identity.vendor == "a"`, 'line 2, column 12: no such key'],
    ['an unknown field of an element', 'boot.images.all(i, i.path == "a")', 'line 1, column 22: no such key: path'],
    ['an unknown field in has()', 'has(boot.nothing)', 'line 1, column 10: no such field: nothing'],
    ['an unknown field deep in has()', 'has(boot.nothing.more)', 'line 1, column 10: no such field: nothing'],
    ['text beside a number', 'tpm.reset_count == "3"', 'no such overload: int == string'],
    ['a value that is not true or false', 'tpm.reset_count', 'is of type int, not bool'],
    ['a list in place of its elements', 'tpm.active_banks == ["sha256"]', '== compares single values'],
    ['a message in place of its fields', 'boot == boot', 'no such overload: Boot == Boot'],
    ['no claim at all', 'true', 'names no claim'],
    ['constants alone', '1 < 2 || "a" in ["b"]', 'names no claim'],
    ['a regular expression', 'boot.command_line.matches("(a+)+$")', 'matches() is not part of the language'],
    ['arithmetic', 'tpm.reset_count + 1 > 2', '+ is not part of the language'],
    ['a sign', 'tpm.reset_count > -1', '- is not part of the language'],
    ['a fraction', 'tpm.reset_count > 1.5', 'only text, integers'],
    ['an unsigned number', 'tpm.reset_count > 1u', 'only text, integers'],
    ['bytes', 'size(b"a") == 1 && tpm.reset_count > 1', 'only text, integers'],
    ['null', 'null == null && tpm.reset_count > 1', 'only text, integers'],
    ['a map', '{"a": 1}["a"] == tpm.reset_count', 'exceeded maxMapEntries'],
    ['a conversion', 'string(tpm.reset_count) == "3"', 'string() is not part of the language'],
    ['a value without a type', 'dyn(tpm.reset_count) == "3"', 'dyn() is not part of the language'],
    ['the time', 'timestamp("2026-01-01T00:00:00Z").getFullYear() == tpm.reset_count', 'is not part of the language'],
    ['a binding', 'cel.bind(x, tpm.reset_count, x == 3)', 'unknown variable: cel'],
    ['a type', 'type(tpm.reset_count) == type(1)', 'type() is not part of the language'],
    ['an order of text', 'identity.model > "ST"', '> orders integers'],
    ['a variable over a claim', 'boot.images.all(boot, boot.pcr == 4)', 'boot has a meaning here'],
    [
      'a variable over a variable',
      'boot.images.all(i, i.digests.exists(i, i == "a"))',
      'i has a meaning here: take another name',
    ],
    ['a map that is gone over', 'host.labels.all(key, key == "a")', 'all() goes over a list'],
    ['a PCR of a variable number', 'pcrs.sha256[tpm.reset_count] == "00"', 'a PCR is named by a number from 0 to 23'],
    ['a PCR that is none', 'pcrs.sha256[24] == "00"', 'a PCR is named by a number from 0 to 23'],
    ['a whole bank', 'size(pcrs.sha256) > 0', 'name one PCR, as pcrs.sha256[7]'],
    ['a question whether a PCR is there', '!(7 in pcrs.sha256)', 'name one PCR'],
    ['a question whether a bank is there', 'has(pcrs.sha256)', 'name one PCR'],
    ['a bank by a text', 'pcrs["sha256"][7] == "00"', 'only lists and maps have elements'],
    ['a bank of a choice', '(tpm.reset_count > 1 ? pcrs : pcrs).sha256[7] == "00"', 'no such field'],
    ['a bank that no TPM has', 'pcrs.md5[7] == "00"', 'no such key: md5'],
    ['a label as a field', 'host.labels.role == "a"', 'a key is written ["role"]'],
    [
      'a word that the state of Secure Boot never is',
      'boot.secure_boot.mode != "Disabled"',
      'line 1, column 26: "Disabled" is none of enabled, disabled, unset',
    ],
    ['such a word in a list', '!(boot.secure_boot.mode in ["off", "unset"])', '"off" is none of enabled'],
    ['a bank in capitals', '!("SHA1" in tpm.active_banks)', '"SHA1" is none of sha1, sha256'],
    ['a bank in capitals, of each', 'tpm.active_banks.all(b, b != "SHA1")', '"SHA1" is none of sha1'],
    ['an admission that there is not', 'identity.admission != "manual"', '"manual" is none of certificate'],
    ['a deviation that there is not', '!("CRL_OLD" in identity.deviations)', '"CRL_OLD" is none of NV_HEADER'],
    [
      'a PCR value in capitals',
      `pcrs.sha256[0] != "${'AB'.repeat(32)}"`,
      `line 1, column 19: a digest is its hexadecimal digits in lower case alone: abababab…`,
    ],
    [
      'a signer as openssl writes it',
      `!("${Array.from({ length: 32 }, () => 'AB').join(':')}" in boot.authorities)`,
      'a digest is its',
    ],
    [
      'a digest with its hash in front',
      `!boot.images.exists(i, i.digests.exists(d, d in ["sha256:${'ab'.repeat(32)}"]))`,
      'lower case alone: abababab…',
    ],
    [
      'the digest of a filtered image in capitals',
      `boot.images.filter(i, i.pcr == 4).all(i, i.digests[0] != "${'Ab'.repeat(32)}")`,
      'a digest is its',
    ],
    [
      'the id of a maker, whose claim is its text',
      'identity.manufacturer != "id:53544D20" || tpm.firmware_version >= 0x0001000200000000',
      'line 1, column 26: identity.manufacturer is the text of the id: write "STM" for "id:53544D20"',
    ],
    ['such an id on the left', '"ID:49465800" == identity.manufacturer', 'write "IFX" for "ID:49465800"'],
    [
      'such an id in a list, deep within',
      'tpm.active_banks.all(b, !(identity.manufacturer in ["IFX", "id:414D4400"]))',
      'write "AMD" for "id:414D4400"',
    ],
    ['has() of a name', 'has(boot)', 'invalid argument'],
    ['has() of an element', 'has(boot.images[0])', 'invalid argument'],
    ['too many nodes', Array.from({ length: 300 }, () => 'host.labels["a"] == "b"').join('||'), 'exceeded maxAstNodes'],
    ['too deep a nest', `${'('.repeat(40)}${PCR}${')'.repeat(40)}`, 'exceeded maxDepth'],
    ['a list too long', `tpm.reset_count in [${'1,'.repeat(300)}1]`, 'exceeded maxListElements'],
    ['nothing but exclamation', `${'!'.repeat(2_000)}(${PCR})`, 'exceeded maxAstNodes'],
  ])('is one with %s', (_name, text, problem) => {
    expect(expressionProblem(text)).toContain(problem);
    expect(expressionProblem(text)).toMatch(/^line \d+, column \d+: ./);
  });
});

describe('an expression that is taken', () => {
  it.each([
    'pcrs.sha256[7] == "00" || pcrs.sha384[7] == "00"',
    'identity.endorsed && !identity.revoked && identity.admission == "certificate"',
    'has(identity.manufacturer) ? identity.manufacturer == "STM" : "sha256" in tpm.active_banks',
    'identity.manufacturer != "id:00001014"',
    'identity.model == "id:53544D20"',
    'tpm.firmware_version >= 0x0007000200030001 && tpm.restart_count == 0',
    'boot.secure_boot.mode == "enabled" && !boot.secure_boot.debug_mode',
    'boot.images.filter(i, i.pcr == 4).all(i, i.digests.exists(d, d in ["aa", "bb"]))',
    'boot.images.map(i, i.pcr).exists_one(p, p == 2)',
    'boot.images[0].digests[0] == "aa"',
    '"shim" in boot.sbat_level && boot.sbat_level["shim"] >= 4',
    'boot.command_line.startsWith("/vmlinuz") && boot.command_line.size() < 2000',
    '"lockdown=confidentiality" in boot.kernel_arguments',
    'host.labels["role"] in ["compute", "storage"] && host.node_name.endsWith(".example")',
  ])('is %s', (text) => {
    expect(expressionProblem(text)).toBeNull();
  });

  it('names the PCRs that it must have quoted, and those that its claims of the boot rest on', () => {
    const { pcrs, bootPcrs } = compileExpression(
      'pcrs.sha384[4] == "a" && (pcrs.sha256[7] == "b" || has(boot.sbat_level)) && size(boot.command_line) > 1',
    );
    expect(pcrs).toEqual([
      { bank: 'sha384', index: 4 },
      { bank: 'sha256', index: 7 },
    ]);
    expect(bootPcrs).toEqual([7, 8, 9, 12, 14]);
  });

  it('looks at no boot where it names none', () => {
    expect(compileExpression(PCR).bootPcrs).toBeNull();
  });
});
