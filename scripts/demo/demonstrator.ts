import type { AttestationResult } from '../../client/sdk/resources.ts';

const WIDTH = 10;
/** What stands left of a text: three spaces and who it is about. */
const MARGIN = 3 + WIDTH;
/** Of a line, where the terminal is wider or is none. */
const LONGEST = 120;
const SHOWN = /^(?:quote|clock|pcr-banks|pcr\.|boot)/;

/** Tells what happens, in plain words; colours only where a person looks. */
export class Demonstrator {
  readonly #out: NodeJS.WriteStream;
  #step = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  title(text: string): void {
    this.#say(`\n${this.#paint('1', text)}\n`);
  }

  step(text: string): void {
    this.#step += 1;
    this.#say(`\n${this.#paint('1', `${this.#step}. ${text}`)}\n`);
  }

  line(who: string, text: string): void {
    this.#say(`   ${this.#paint('36', who.padEnd(WIDTH))}${this.#fill(text)}\n`);
  }

  more(text: string): void {
    this.#say(`${' '.repeat(MARGIN)}${this.#fill(text)}\n`);
  }

  command(text: string): void {
    this.#say(`   ${this.#paint('2', '$')} ${text}\n`);
  }

  answer(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.#say(`     ${line}\n`);
  }

  proof(text: string): void {
    this.#say(`   ${this.#paint('32', 'proven'.padEnd(WIDTH))}${this.#fill(text)}\n`);
  }

  verdict(result: AttestationResult): void {
    const good = result.status === 'AFFIRMING';
    const time = (result.revisionTime ?? new Date(0)).toISOString().slice(11, 19);
    this.#say(
      `   ${time}  ${this.#paint(good ? '1;32' : '1;31', result.status)}  ${result.nodeName}, judged by ${result.trustPolicy}\n`,
    );
    // Of a good verdict what was proven by this quote, of another one what speaks against the host.
    const shown = result.checks.filter(({ id, outcome }) => (good ? SHOWN.test(id) : outcome !== 'PASSED'));
    for (const { id, reason, message, observed, expected } of shown) {
      const seen = id.startsWith('boot.') && observed !== '' ? ` (${observed})` : '';
      this.more(reason === '' ? `ok: ${message}${seen}` : `${reason}: ${message}`);
      if (reason === '') continue;
      this.more(`  observed ${observed}`);
      this.more(`  expected ${expected}`);
    }
  }

  note(text: string): void {
    this.#say(`\n${text}\n\n`);
  }

  failed(message: string, lastLines: readonly string[]): void {
    this.#say(`\n${this.#paint('1;31', 'The demo failed')}: ${message}\n`);
    for (const line of lastLines) this.#say(`   ${line}\n`);
  }

  /** Breaks a text between words where the terminal would break it anywhere; its own indentation is kept. */
  #fill(text: string): string {
    const room = Math.min(this.#out.columns ?? LONGEST, LONGEST) - MARGIN;
    const indent = /^ */.exec(text)?.[0] ?? '';
    const lines: string[] = [];
    let line = indent;
    for (const word of text.trimStart().split(' ')) {
      if (line.trimStart() !== '' && line.length + 1 + word.length > room) {
        lines.push(line);
        line = indent;
      }
      line = line.trimStart() === '' ? `${line}${word}` : `${line} ${word}`;
    }
    return [...lines, line].join(`\n${' '.repeat(MARGIN)}`);
  }

  #say(text: string): void {
    this.#out.write(text);
  }

  #paint(code: string, text: string): string {
    return this.#out.isTTY && (process.env['NO_COLOR'] ?? '') === '' ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}
