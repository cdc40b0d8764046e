"""TRIPOD+AI: the numbers of its items, our own short names for them, and the answers of a run."""

from __future__ import annotations

from brainmri.reporting.checklists import data_answers as data
from brainmri.reporting.checklists import model_answers as model
from brainmri.reporting.checklists.evidence import Checklist, Item, not_applicable, of_patients, only_you

NO_READER = "The network takes the pixels: nobody judges a predictor."

ITEMS = [
    Item("1", "Title", model.title),
    Item("2", "Abstract", only_you("the abstract; there is a checklist of its own for it.")),
    Item("3a", "Context and rationale", only_you("the disease, why a model is needed, and which there are.")),
    Item("3b", "Whom and where it is for", only_you("patients, place in care and users.")),
    Item("3c", "Known inequalities", only_you("known inequalities between groups of patients.")),
    Item("4", "Objectives", model.goal),
    Item("5a", "Sources of the data", data.sources),
    Item("5b", "Dates", of_patients("from when to when the images were made.")),
    Item("6a", "Setting", of_patients("which hospitals, and where.")),
    Item("6b", "Who was let in", data.eligibility),
    Item("6c", "Treatments", of_patients("which treatments the patients had before the images.")),
    Item("7", "Preparation of the data", data.preprocessing),
    Item("8a", "Outcome", data.reference_standard),
    Item("8b", "Who judged the outcome", of_patients("who labelled the images, and how well trained.")),
    Item("8c", "Blinding for the outcome", of_patients("what those who labelled knew of the patients.")),
    Item("9a", "Choice of predictors", model.predictors),
    Item("9b", "Definition of predictors", data.preprocessing),
    Item("9c", "Who judged predictors", lambda e: not_applicable(NO_READER)),
    Item("10", "Sample size", data.sample_size),
    Item("11", "Missing data", data.missing),
    Item("12a", "Use of the data", data.assignment),
    Item("12b", "Handling of predictors", data.preprocessing),
    Item("12c", "Type of model and its making", model.training),
    Item("12d", "Differences between clusters", model.clusters),
    Item("12e", "Measures of performance", model.metrics),
    Item("12f", "Updating", model.updating),
    Item("12g", "How a prediction is computed", model.output),
    Item("13", "Class imbalance", data.imbalance),
    Item(
        "14", "Fairness", of_patients("what was done about fairness: age, sex and ethnic origin are not in the files.")
    ),
    Item("15", "Output and thresholds", model.output),
    Item("16", "Training against evaluation", model.differences),
    Item("17", "Ethics", of_patients("approval and consent.")),
    Item("18a", "Funding", only_you("who paid, and what part they had.")),
    Item("18b", "Conflicts of interest", only_you("conflicts of interest of all authors.")),
    Item("18c", "Protocol", model.protocol),
    Item("18d", "Registration", only_you("whether the study is registered, and where.")),
    Item("18e", "Data for others", data.access),
    Item("18f", "Code for others", model.code),
    Item("19", "Patients and public", only_you("whether patients or the public took part in the study, and how.")),
    Item("20a", "Flow of participants", data.included),
    Item("20b", "Characteristics", data.characteristics),
    Item("20c", "Development against evaluation", data.events),
    Item("21", "Numbers in each analysis", data.events),
    Item("22", "The whole model", model.availability),
    Item("23a", "Performance", model.performance),
    Item("23b", "Performance by cluster", model.clusters),
    Item("24", "Result of updating", model.updating),
    Item("25", "Interpretation", model.interpretation),
    Item("26", "Limitations", model.limitations),
    Item("27a", "Input that is poor or missing", model.unreadable_input),
    Item("27b", "Users and their skill", only_you("who uses the model, with which skill.")),
    Item("27c", "Next steps", only_you("what is to be done next, a test on other data first.")),
]

TRIPOD_AI = Checklist(
    "TRIPOD+AI",
    "Collins GS, Moons KGM, Dhiman P, et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction "
    "models that use regression or machine learning methods. BMJ 385, e078378, 2024, doi:10.1136/bmj-2023-078378",
    ITEMS,
)
