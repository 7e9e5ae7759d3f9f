import type { CompletedCommand, CompletedValue } from './model.ts'
import { quoted } from './quote.ts'

/** A script for bash that completes `layerswarm`. */
export function bashCompletion(commands: readonly CompletedCommand[]): string {
  const paths = commands.flatMap(({ path }) => (path === '' ? [] : [quoted(path)]))
  return `# bash completion of layerswarm, printed by: layerswarm completion bash

_layerswarm() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} at= words= options= i
  # bash makes three words of --option=value.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
      ${paths.join(' | ')}) at+=" \${COMP_WORDS[i]}" ;;
    esac
  done

  COMPREPLY=()
  case "$at $prev" in
${values(commands)}
  esac
  case $at in
${commands.map(branch).join('\n')}
  esac
  if [[ $cur == -* || -z $words ]]; then words=$options; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _layerswarm layerswarm
`
}

function branch({ path, commands, words, options }: CompletedCommand): string {
  const names = [...commands, ...words].map(({ name }) => name).join(' ')
  return `    ${quoted(path)}) words=${quoted(names)} options=${quoted(options.flatMap(({ flags }) => flags).join(' '))} ;;`
}

/** What may follow an option that takes a value: options with the same values share a branch. */
function values(commands: readonly CompletedCommand[]): string {
  const branches = new Map<string, string[]>()
  for (const { path, options } of commands) {
    for (const { flags, value, bare } of options) {
      if (value === undefined) continue
      const action = bare ? `if [[ $cur != -* ]]; then ${actionOf(value)}; fi` : actionOf(value)
      branches.set(action, [...(branches.get(action) ?? []), ...flags.map((flag) => quoted(`${path} ${flag}`))])
    }
  }
  return [...branches].map(([action, patterns]) => `    ${patterns.join(' | ')}) ${action} ;;`).join('\n')
}

function actionOf(value: CompletedValue): string {
  switch (value.kind) {
    case 'words':
      return reply(`-W ${quoted(value.words.join(' '))}`)
    case 'file':
      return `compopt -o filenames 2>/dev/null; ${reply('-f')}`
    case 'directory':
      return `compopt -o filenames 2>/dev/null; ${reply('-d')}`
    case 'unknown':
      return 'return'
  }
}

function reply(generator: string): string {
  return `mapfile -t COMPREPLY < <(compgen ${generator} -- "$cur"); return`
}
