"""Functional groups as SMARTS: a table that divides most organic molecules into parts that rarely overlap."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Counts in the patterns (X: neighbours, H: hydrogens) hold with hydrogens as atoms and without; D would not.
# What only says where a group sits, and is no part of it, stands in $(...).
_ACYL = "[CX3;!$(C~[!#6;!O;!H])](=[OX1])"  # C=O with carbon, hydrogen and oxygen around it only

FUNCTIONAL_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "carboxylic acid": f"{_ACYL}[OX2H1,OX1-]",
        "anhydride": "[CX3](=[OX1])[OX2][CX3]=[OX1]",
        "carbonate": "[OX2;!$(O(C=O)C=O)][CX3](=[OX1])[OX2;!$(O(C=O)C=O)]",
        "ester": "[CX3;!$(C(=O)(O)O)](=[OX1])[OX2H0;$(O[#6]);!$(O(C=O)C=O);!$(OC(=O)N)]",
        "carbamate": "[NX3][CX3](=[OX1])[OX2]",
        "urea": "[NX3][CX3](=[OX1,SX1])[NX3]",
        "imide": "[CX3](=[OX1])[NX3][CX3]=[OX1]",
        "amide": "[CX3;$(C[#6]),$([CH1,CH2])](=[OX1])[NX3;!$(N(C=O)C=O)]",
        "acyl halide": "[CX3](=[OX1])[F,Cl,Br,I]",
        "aldehyde": "[CX3;$([CH1][#6]),$([CH2])]=[OX1]",
        "ketone": "[CX3;$(C([#6])[#6])](=[OX1])",
        "thiocarbonyl": "[CX3;!$(C(N)N)]=[SX1]",
        "hydroxyl": "[OX2H1,OX1-;!$(OC=[OX1]);$(O[#6])]",
        "ether": "[OX2H0;!a;$(O([#6;!$(C=[OX1])])[#6;!$(C=[OX1])])]",
        "peroxide": "[OX2][OX2]",
        "nitro": "[NX3+](=[OX1])[OX1-]",
        "nitrile": "[CX2]#[NX1]",
        "azide": "[NX2]=[NX2+]=[NX1-]",
        "azo": "[NX2;!a;+0]=[NX2;!a;+0]",
        "imine": "[CX3;!a;!$(C-N)]=[NX2;!a]",
        "guanidine": "[NX2;!a]=[CX3;!a](-[N])-[N]",
        "amidine": "[NX2;!a]=[CX3;!a;!$(C(-N)-N)]-[N]",
        "sulfonamide": "[SX4](=[OX1])(=[OX1])[NX3]",
        "sulfonate": "[SX4](=[OX1])(=[OX1])[OX2,OX1-]",
        "sulfone": "[SX4;$(S([#6])[#6])](=[OX1])=[OX1]",
        "sulfoxide": "[SX3;$(S([#6])[#6])]=[OX1]",
        "amine": "[NX3,NX4+;!a;!$(N[C,S]=[O,S,N]);!$(N~[!#6;!#1]);$(N[#6]),$([NH3])]",
        "thiol": "[SX2H1,SX1-]",
        "disulfide": "[SX2H0][SX2H0]",
        "sulfide": "[SX2H0;!a;$(S([#6])[#6])]",
        "fluorine": "[FX1;!$(FC=[OX1])]",
        "chlorine": "[ClX1;!$(ClC=[OX1])]",
        "bromine": "[BrX1;!$(BrC=[OX1])]",
        "iodine": "[IX1;!$(IC=[OX1])]",
        "alkyne": "[CX2]#[CX2]",
        "allene": "[CX3]=[CX2]=[CX3]",
        "alkene": "[CX3;!a]=[CX3;!a]",
        "benzene ring": "c1ccccc1",
        "heteroaromatic 5-ring": "[$([n,o,s]1aaaa1),$(a1[n,o,s]aaa1),$(a1a[n,o,s]aa1)]1aaaa1",
        "heteroaromatic 6-ring": "[$([n,o]1aaaaa1),$(a1[n,o]aaaa1),$(a1a[n,o]aaa1),$(a1aa[n,o]aa1)]1aaaaa1",
        "methyl": "[CX4H3]",
        "methylene": "[CX4H2]",
        "methine": "[CX4H1]",
        "quaternary carbon": "[CX4H0]",
    }
)
"""Name -> SMARTS. Extend or replace it: `{**FUNCTIONAL_GROUPS, "carbonyl": "[CX3]=[OX1]"}`."""
