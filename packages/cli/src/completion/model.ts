/** What can be written at each place of the command line, as shells need to know it. */
import { LOG_LEVELS } from '@layerswarm/core/log.ts'
import type { Command, Option } from 'commander'

export interface CompletedCommand {
  /** The words that lead to it, each after a space: ` mirror install`; empty for the program itself. */
  readonly path: string
  readonly commands: readonly Completed[]
  readonly options: readonly CompletedOption[]
  /** What its argument can be, where that is known. */
  readonly words: readonly Completed[]
}

export interface Completed {
  readonly name: string
  readonly description: string
}

export interface CompletedOption extends Completed {
  /** Every way to write it, with dashes. */
  readonly flags: readonly string[]
  readonly value: CompletedValue | undefined
  /** Whether it may also stand without its value. */
  readonly bare: boolean
}

/** What an option takes: one of some words, a path, or what no shell can know. */
export type CompletedValue =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'file' | 'directory' | 'unknown' }

/** The program and all commands below it, each before those below it. */
export function completedCommands(command: Command, path = ''): CompletedCommand[] {
  const help = command.createHelp()
  const children = help.visibleCommands(command)
  const own: CompletedCommand = {
    path,
    commands: children.map((child) => ({ name: child.name(), description: child.description() })),
    options: help.visibleOptions(command).map(completedOption),
    words: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices).map((name) => ({ name, description: '' }))
  }
  return [own, ...children.flatMap((child) => completedCommands(child, `${path} ${child.name()}`))]
}

function completedOption(option: Option): CompletedOption {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined)
  return { name: flags.at(-1) ?? option.flags, flags, description: option.description, value: takenBy(option), bare: option.optional }
}

function takenBy({ flags, argChoices }: Option): CompletedValue | undefined {
  const placeholder = /[<[](.*)[>\]]/.exec(flags)?.[1]
  if (placeholder === undefined) return undefined
  if (argChoices !== undefined) return { kind: 'words', words: argChoices }
  if (placeholder === 'LEVEL') return { kind: 'words', words: LOG_LEVELS }
  const alternatives = placeholder.split('|')
  if (alternatives.includes('DIR')) return { kind: 'directory' }
  if (alternatives.some((name) => name === 'FILE' || name === 'SOCKET')) return { kind: 'file' }
  // Words that are to be written as they are stand in small letters.
  return alternatives.every((name) => name === name.toLowerCase()) ? { kind: 'words', words: alternatives } : { kind: 'unknown' }
}
