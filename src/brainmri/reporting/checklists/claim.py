"""CLAIM 2024: the numbers of its items, our own short names for them, and the answers of a run."""

from __future__ import annotations

from brainmri.reporting.checklists import data_answers as data
from brainmri.reporting.checklists import model_answers as model
from brainmri.reporting.checklists.evidence import Checklist, Item, not_applicable, of_patients, only_you

NO_TRIAL = "Images that existed before the run were classified: there was no trial to register."

ITEMS = [
    Item("1", "Title", model.title),
    Item("2", "Abstract", only_you("the abstract, with design, methods, results and conclusions.")),
    Item(
        "3", "Background and role of the model", only_you("the clinical background, and what the model is meant for.")
    ),
    Item("4", "Aims and hypotheses", only_you("the aims and hypotheses of the study.")),
    Item("5", "Direction in time", data.design),
    Item("6", "Goal", model.goal),
    Item("7", "Sources of the data", data.sources),
    Item("8", "What was let in and what not", data.eligibility),
    Item("9", "Preprocessing", data.preprocessing),
    Item("10", "Parts of the data", data.subsets),
    Item("11", "De-identification", data.deidentification),
    Item("12", "Missing data", data.missing),
    Item("13", "Acquisition", of_patients("scanners, field strengths and sequences: the images do not hold them.")),
    Item("14", "Reference standard", data.reference_standard),
    Item("15", "Why this reference", of_patients("why the source's labels are the right reference.")),
    Item("16", "Who labelled", of_patients("who labelled the images, and how well trained.")),
    Item("17", "Labels of the test images", data.test_labels),
    Item("18", "Agreement of readers", of_patients("how well readers agreed: each image has one label here.")),
    Item("19", "Dealing to the splits", data.assignment),
    Item("20", "Level of separation", data.disjoint),
    Item("21", "Size of the test set", data.sample_size),
    Item("22", "Model", model.model),
    Item("23", "Software", model.software),
    Item("24", "Weights at the start", model.initialisation),
    Item("25", "Training", model.training),
    Item("26", "Choice of the model", model.selection),
    Item("27", "Ensembles", model.ensembling),
    Item("28", "Metrics", model.metrics),
    Item("29", "Statistics and uncertainty", model.uncertainty),
    Item("30", "Robustness", model.robustness),
    Item("31", "Explanations", model.explainability),
    Item("32", "Test on internal data", model.internal_test),
    Item(
        "33",
        "Test on external data",
        model.external_test,
    ),
    Item("34", "Trial registration", lambda _: not_applicable(NO_TRIAL)),
    Item("35", "Numbers let in and left out", data.included),
    Item("36", "Characteristics of each split", data.characteristics),
    Item("37", "Performance with uncertainty", model.performance),
    Item("38", "Diagnostic performance", model.diagnostic),
    Item("39", "Errors", model.failures),
    Item("40", "Limitations", model.limitations),
    Item("41", "Implications for practice", model.implications),
    Item("42", "Technical details", model.protocol),
    Item("43", "Software, model and data for others", model.availability),
    Item("44", "Funding", only_you("who paid, and what part they had.")),
]


CLAIM = Checklist(
    "CLAIM 2024",
    "Tejani AS, Klontzas ME, Gatti AA, Mongan JT, Moy L, Park SH, Kahn CE Jr; CLAIM 2024 Update Panel. "
    "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update. Radiology: Artificial Intelligence "
    "6(4), e240300, 2024, doi:10.1148/ryai.240300",
    ITEMS,
)
