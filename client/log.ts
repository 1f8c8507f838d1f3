import type { AgentLog } from './agent/world.ts';
import { LOG_LEVELS } from './config.ts';
import type { LogLevel } from './config.ts';
import { escapeText } from './output.ts';

/** Plain sentences for a person at a terminal: time, and the level where it is not the usual one. */
export function makeHumanLog(options: {
  readonly level: LogLevel;
  readonly write: (text: string) => void;
  readonly now: () => Date;
}): AgentLog {
  const least = LOG_LEVELS.indexOf(options.level);
  const at =
    (level: LogLevel) =>
    (_fields: Readonly<Record<string, unknown>>, sentence: string): void => {
      if (LOG_LEVELS.indexOf(level) < least) return;
      const time = options.now().toISOString().slice(11, 19);
      options.write(`${time} ${level === 'info' ? '' : `${level}: `}${escapeText(sentence)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
