"""The cortical regions of the Harvard-Oxford atlas, by label value."""

_NAMES = """Frontal Pole; Insular Cortex; Superior Frontal Gyrus; Middle Frontal Gyrus;
Inferior Frontal Gyrus, pars triangularis; Inferior Frontal Gyrus, pars opercularis;
Precentral Gyrus; Temporal Pole; Superior Temporal Gyrus, anterior;
Superior Temporal Gyrus, posterior; Middle Temporal Gyrus, anterior;
Middle Temporal Gyrus, posterior; Middle Temporal Gyrus, temporooccipital;
Inferior Temporal Gyrus, anterior; Inferior Temporal Gyrus, posterior;
Inferior Temporal Gyrus, temporooccipital; Postcentral Gyrus; Superior Parietal Lobule;
Supramarginal Gyrus, anterior; Supramarginal Gyrus, posterior; Angular Gyrus;
Lateral Occipital Cortex, superior; Lateral Occipital Cortex, inferior; Intracalcarine Cortex;
Frontal Medial Cortex; Juxtapositional Lobule Cortex; Subcallosal Cortex; Paracingulate Gyrus;
Cingulate Gyrus, anterior; Cingulate Gyrus, posterior; Precuneous Cortex; Cuneal Cortex;
Frontal Orbital Cortex; Parahippocampal Gyrus, anterior; Parahippocampal Gyrus, posterior;
Lingual Gyrus; Temporal Fusiform Cortex, anterior; Temporal Fusiform Cortex, posterior;
Temporal Occipital Fusiform Cortex; Occipital Fusiform Gyrus; Frontal Operculum Cortex;
Central Opercular Cortex; Parietal Operculum Cortex; Planum Polare; Heschl's Gyrus;
Planum Temporale; Supracalcarine Cortex; Occipital Pole"""
HARVARD_OXFORD = {i: " ".join(n.split()) for i, n in enumerate(_NAMES.split(";"), start=1)}
