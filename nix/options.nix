# The keys of the policy files as NixOS options, to the depth of the language: types, ranges and descriptions come from the same
# JSON Schema that editors read, so options and files cannot differ.
{ lib }:

let
  schema = builtins.fromJSON (builtins.readFile ../daemon/src/schema/netpol.schema.json);

  # A definition that a schema refers to, with what stands beside the reference.
  resolve =
    part:
    if part ? "$ref" then
      schema."$defs".${lib.removePrefix "#/$defs/" part."$ref"} // removeAttrs part [ "$ref" ]
    else
      part;

  # `^…$` is implied by Nix's own regular expressions.
  unanchored = pattern: lib.removePrefix "^" (lib.removeSuffix "$" pattern);

  integer =
    part:
    if part ? maximum then
      lib.types.ints.between part.minimum part.maximum
    else if (part.minimum or 0) >= 1 then
      lib.types.ints.positive
    else
      lib.types.ints.unsigned;

  scalars = {
    string = part: if part ? pattern then lib.types.strMatching (unanchored part.pattern) else lib.types.str;
    integer = integer;
    boolean = _: lib.types.bool;
  };

  typeOf =
    written:
    let
      part = resolve written;
    in
    if part ? enum then
      lib.types.enum part.enum
    else if part ? const then
      lib.types.enum [ part.const ]
    else if part ? properties then
      lib.types.submodule { options = optionsOf part; }
    else if part ? anyOf then
      lib.types.oneOf (map typeOf part.anyOf)
    else if builtins.isList part.type then
      lib.types.oneOf (map (type: typeOf { inherit type; }) part.type)
    else if part.type == "array" then
      lib.types.listOf (typeOf part.items)
    else
      scalars.${part.type} part;

  # A key that may be left out is null where nothing is said; `written` takes these out again.
  optionsOf =
    part:
    lib.mapAttrs
      (
        name: written:
        let
          key = resolve written;
          required = builtins.elem name (part.required or [ ]);
          type = typeOf written;
        in
        lib.mkOption (
          {
            description =
              (key.description or "See netpol.d(5).")
              + lib.optionalString (key ? default) " Where nothing is said: `${builtins.toJSON key.default}`.";
            type = if required then type else lib.types.nullOr type;
          }
          // lib.optionalAttrs (!required) { default = null; }
          // lib.optionalAttrs (key ? examples) { example = builtins.head key.examples; }
        )
      )
      part.properties;

  blocks = schema.properties;

  # Blocks that have a name get it from their attribute.
  named =
    part:
    lib.types.attrsOf (
      lib.types.submodule (
        { name, ... }:
        {
          options = optionsOf part // {
            name = lib.mkOption {
              type = lib.types.str;
              default = name;
              description = part.properties.name.description;
            };
          };
        }
      )
    );
in
{
  daemon = lib.types.submodule { options = optionsOf blocks.daemon; };
  sets = named blocks.set.items;
  policies = named blocks.policy.items;
  tests = lib.types.listOf (typeOf blocks.test.items);
  failsafe = lib.types.listOf (typeOf schema."$defs".failsafe);

  # What was said, without the keys that were left out.
  written =
    let
      clean =
        value:
        if builtins.isAttrs value then
          lib.mapAttrs (_: clean) (lib.filterAttrs (_: inner: inner != null && clean inner != { }) value)
        else if builtins.isList value then
          map clean value
        else
          value;
    in
    clean;
}
