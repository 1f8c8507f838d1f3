#!/usr/bin/env node
import { launch } from './launch.mjs';

await launch('assay', 'client/main.ts');
