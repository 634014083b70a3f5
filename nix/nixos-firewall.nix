# What `networking.firewall` opens, said in our language: a policy for all interfaces, and one before it for each interface that has
# ports of its own. Each rule's comment names the option that it comes from.
{ lib }:

firewall:

let
  range = { from, to }: "${toString from}-${toString to}";

  rules =
    origin: ports:
    lib.concatMap
      (
        { protocol
        , key
        , ranges
        ,
        }:
        let
          opened = (ports.${key} or [ ]) ++ map range (ports.${ranges} or [ ]);
        in
        lib.optional (opened != [ ]) {
          id = "nixos-${protocol}";
          action = "allow";
          inherit protocol;
          destination.ports = opened;
          comment = "${origin}.${key}, ${origin}.${ranges}";
        }
      )
      [
        {
          protocol = "tcp";
          key = "allowedTCPPorts";
          ranges = "allowedTCPPortRanges";
        }
        {
          protocol = "udp";
          key = "allowedUDPPorts";
          ranges = "allowedUDPPortRanges";
        }
      ];

  ping = family: protocol: {
    id = "nixos-ping-${family}";
    action = "allow";
    inherit protocol;
    icmp.type = "echo-request";
    comment = "networking.firewall.allowPing";
  };

  trusted = firewall.trustedInterfaces or [ ];
  # An interface that is trusted, and the loopback device, have no policy at all: nothing there is refused.
  excluded = map (name: "!${name}") (lib.filter (name: name != "lo") trusted);
in
{
  nixos-firewall = {
    description = "Translated from networking.firewall.";
    order = 1000;
    interfaces = [ "*" ] ++ excluded;
    policy_types = [ "ingress" ];
    default_action.ingress = "deny";
    dhcp_client = true;
    log_default_deny = firewall.logRefusedConnections or true;
    ingress =
      rules "networking.firewall" firewall
      ++ lib.optionals (firewall.allowPing or true) [
        (ping "v4" "icmp")
        (ping "v6" "icmpv6")
      ];
  };
}
  // lib.mapAttrs'
  (
    name: ports:
      lib.nameValuePair "nixos-firewall-${name}" {
        description = "Translated from networking.firewall.interfaces.${name}.";
        order = 999;
        interfaces = [ name ];
        policy_types = [ "ingress" ];
        dhcp_client = true;
        ingress = rules "networking.firewall.interfaces.${name}" ports;
      }
  )
  (lib.filterAttrs (name: ports: rules "" ports != [ ] && !(builtins.elem name trusted)) (firewall.interfaces or { }))
