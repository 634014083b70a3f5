# Enough of nixpkgs' `lib` and of its module system to evaluate one service module where no nixpkgs is at hand: option types with their
# checks, defaults, unknown options, submodules, mkIf, assertions. A smoke test: the real thing is run where NIXPKGS points to a tree.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    hasAttr
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    match
    replaceStrings
    stringLength
    substring
    tail
    tryEval
    typeOf
    ;

  place = concatStringsSep ".";
  isPackage = value: isAttrs value && value ? outPath;

  # A type: a name, and `read`, which checks a value and fills in the defaults of submodules.
  simple = name: good: {
    inherit name;
    read = at: value: if good value then value else throw "option `${place at}' is not of type `${name}' but a ${typeOf value}";
  };

  types = rec {
    bool = simple "boolean" isBool;
    str = simple "string" isString;
    lines = str;
    path = simple "path" (value: isPath value || isPackage value || (isString value && substring 0 1 value == "/"));
    package = simple "package" isPackage;
    anything = simple "anything" (_: true);
    ints = {
      between = low: high: simple "integer between ${toString low} and ${toString high}" (v: isInt v && low <= v && v <= high);
      unsigned = simple "unsigned integer" (value: isInt value && value >= 0);
      positive = simple "positive integer" (value: isInt value && value > 0);
    };
    enum = words: simple "one of ${builtins.toJSON words}" (value: elem value words);
    strMatching = pattern: simple "string matching ${pattern}" (value: isString value && match pattern value != null);
    nullOr = inner: {
      name = "null or ${inner.name}";
      read = at: value: if value == null then null else inner.read at value;
    };
    either = one: other: {
      name = "${one.name} or ${other.name}";
      read = at: value: if (tryEval (builtins.deepSeq (one.read at value) true)).success then one.read at value else other.read at value;
    };
    oneOf = list: foldl' either (head list) (tail list);
    listOf = inner: {
      name = "list of ${inner.name}";
      read =
        at: value:
        if isList value then
          builtins.genList (n: inner.read (at ++ [ (toString n) ]) (elemAt value n)) (length value)
        else
          throw "option `${place at}' is not a list but a ${typeOf value}";
    };
    attrsOf = inner: {
      name = "attribute set of ${inner.name}";
      read =
        at: value:
        if isAttrs value then
          builtins.mapAttrs (name: inner.read (at ++ [ name ])) value
        else
          throw "option `${place at}' is not an attribute set but a ${typeOf value}";
    };
    submodule = module: {
      name = "submodule";
      read =
        at: value:
        let
          written = if isFunction module then module { name = elemAt at (length at - 1); } else module;
        in
        if isAttrs value then readOptions at written.options value else throw "option `${place at}' is not a submodule but a ${typeOf value}";
    };
  };

  isOption = value: isAttrs value && (value._type or "") == "option";

  # Values of a tree of options: checked, with defaults; an option that is not declared is an error.
  readOptions =
    at: options: values:
    let
      unknown = filter (name: !(hasAttr name options)) (attrNames values);
      one =
        name: option:
        let
          here = at ++ [ name ];
        in
        if !(isOption option) then
          readOptions here option (values.${name} or { })
        else if hasAttr name values then
          option.type.read here values.${name}
        else if option ? default then
          option.type.read here option.default
        else
          throw "option `${place here}' is used and not defined";
    in
    if unknown != [ ] then throw "option `${place (at ++ [ (head unknown) ])}' does not exist" else builtins.mapAttrs one options;

  lib = rec {
    inherit types;
    inherit (builtins)
      all
      any
      attrNames
      attrValues
      concatMap
      concatStringsSep
      filter
      head
      mapAttrs
      ;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkIf = condition: content: if condition then content else { };
    mkDefault = value: value;
    genAttrs = names: make: listToAttrs (map (name: nameValuePair name (make name)) names);
    literalExpression = text: text;
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: attrs: if condition then attrs else { };
    optionalString = condition: text: if condition then text else "";
    filterAttrs = keep: attrs: listToAttrs (map (name: nameValuePair name attrs.${name}) (filter (name: keep name attrs.${name}) (attrNames attrs)));
    mapAttrsToList = make: attrs: map (name: make name attrs.${name}) (attrNames attrs);
    mapAttrs' = make: attrs: listToAttrs (mapAttrsToList make attrs);
    nameValuePair = name: value: { inherit name value; };
    recursiveUpdate =
      one: other:
      one // builtins.mapAttrs (name: value: if isAttrs value && isAttrs (one.${name} or null) then recursiveUpdate one.${name} value else value) other;
    unique = foldl' (found: item: if elem item found then found else found ++ [ item ]) [ ];
    last = list: elemAt list (length list - 1);
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    removePrefix = prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
    hasSuffix = suffix: text: substring (stringLength text - stringLength suffix) (-1) text == suffix;
    removeSuffix = suffix: text: if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
    splitString = separator: text: filter isString (builtins.split (replaceStrings [ "." ] [ "[.]" ] separator) text);
    toInt = text: builtins.fromJSON text;
  };
in
{
  inherit lib;

  # What a module makes of settings, beside the rest of a system's configuration.
  evaluate =
    { module
    , pkgs
    , prefix
    , settings
    , system
    ,
    }:
    let
      evaluated = import module { inherit lib pkgs config; };
      nested = path: attrs: if path == [ ] then attrs else { ${head path} = nested (tail path) attrs; };
      options = foldl' (tree: name: tree.${name}) evaluated.options prefix;
      # What other modules would make of this one's output is not evaluated.
      config = lib.recursiveUpdate system (nested prefix (readOptions prefix options settings));
    in
    evaluated.config // { failed = map (assertion: assertion.message) (filter (assertion: !assertion.assertion) (evaluated.config.assertions or [ ])); };
}
