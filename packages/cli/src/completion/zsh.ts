import type { Completed, CompletedCommand, CompletedOption, CompletedValue } from './model.ts'
import { quoted } from './quote.ts'

/** A script for zsh that completes `layerswarm`, to be found as `_layerswarm` in `$fpath` or to be sourced. */
export function zshCompletion(commands: readonly CompletedCommand[]): string {
  const paths = commands.flatMap(({ path }) => (path === '' ? [] : [quoted(path)]))
  return `#compdef layerswarm
# zsh completion of layerswarm, printed by: layerswarm completion zsh

_layerswarm() {
  local at=
  integer i from=1
  for ((i = 2; i < CURRENT; i++)); do
    case "$at \${words[i]}" in
      (${paths.join('|')}) at+=" \${words[i]}"; from=i ;;
    esac
  done
  # What follows the command is completed as if it were a command of its own.
  words=("\${(@)words[from,-1]}")
  ((CURRENT -= from - 1))

  case $at in
${commands.map(branch).join('\n')}
  esac
}

if [[ $funcstack[1] == _layerswarm ]]; then _layerswarm "$@"; else compdef _layerswarm layerswarm; fi
`
}

function branch({ path, commands, words, options }: CompletedCommand): string {
  const next = [...commands, ...words]
  const specs = options.flatMap(optionSpecs)
  if (next.length > 0) specs.push(quoted(`1: :((${next.map(choice).join(' ')}))`))
  return `    (${quoted(path)}) _arguments ${specs.join(' ')} ;;`
}

function optionSpecs({ flags, description, value, bare }: CompletedOption): string[] {
  return flags.map((flag) =>
    quoted(`*${flag}[${escaped(description)}]${value === undefined ? '' : `${bare ? ':' : ''}: :${actionOf(value)}`}`)
  )
}

function actionOf(value: CompletedValue): string {
  switch (value.kind) {
    case 'words':
      return `(${value.words.join(' ')})`
    case 'file':
      return '_files'
    case 'directory':
      return '_files -/'
    case 'unknown':
      return ' '
  }
}

function choice({ name, description }: Completed): string {
  return description === '' ? name : `${name}\\:${quotedTwice(description)}`
}

/** Inside a list of choices, which zsh reads as words once more. */
function quotedTwice(text: string): string {
  return `"${text.replaceAll(/["\\$`]/g, '\\$&').replaceAll(':', '\\:')}"`
}

function escaped(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&')
}
